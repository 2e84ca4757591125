#include <algorithm>
#include <cmath>

#include "lethe/train/train.h"

namespace lethe {

double learningRate(const Schedule& schedule, double position, double epochs) {
  const double peak = schedule.peakEpoch, rest = std::max(epochs - peak, 1e-12);
  double factor = 1;
  switch (schedule.kind) {
    case Schedule::Kind::constant: break;
    case Schedule::Kind::triangle: factor = position < peak ? position / peak : (epochs - position) / rest; break;
    case Schedule::Kind::cosine: factor = position < peak ? position / peak : 0.5 * (1.0 + std::cos(3.14159265358979323846 * (position - peak) / rest)); break;
    case Schedule::Kind::exponential: factor = std::pow(schedule.factor, std::floor(position)); break;
    case Schedule::Kind::steps:
      for (double epoch : schedule.atEpochs) factor *= std::floor(position) >= epoch ? schedule.factor : 1.0;
      break;
  }
  return schedule.learningRate * std::max(factor, 0.0);
}

}  // namespace lethe
