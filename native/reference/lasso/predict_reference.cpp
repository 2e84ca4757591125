#include "reference/lasso/predict_reference.h"

namespace lethe::reference {

double predict(const MaskView& masks, const DatamodelView& datamodels, int64_t model, int64_t target) {
  const uint8_t* row = masks.bits + model * ((masks.numTrain + 7) / 8);
  const auto seen = [&](int64_t example) { return ((row[example / 8] >> (example % 8)) & 1) != 0; };
  double sum = datamodels.bias[target];
  if (datamodels.dense) {
    for (int64_t j = 0; j < masks.numTrain; ++j) {
      if (seen(j)) sum += datamodels.dense[target * masks.numTrain + j];
    }
    return sum;
  }
  for (auto k = static_cast<int64_t>(datamodels.rowStart[target]); k < static_cast<int64_t>(datamodels.rowStart[target + 1]); ++k) {
    if (seen(datamodels.indices[k])) sum += datamodels.weights[k];
  }
  return sum;
}

}  // namespace lethe::reference
