// Naive double-precision twin of predictions by datamodels.
#pragma once
#include <cstdint>

#include "lethe/lasso/predict.h"

namespace lethe::reference {

// The prediction of one target for one model: bias + sum of the weights of the examples in the mask.
double predict(const MaskView& masks, const DatamodelView& datamodels, int64_t model, int64_t target);

}  // namespace lethe::reference
