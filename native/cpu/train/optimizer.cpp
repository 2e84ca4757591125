// Parameter updates: momentum SGD and Adam, both as PyTorch defines them.
#include <cmath>

#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

void sgdStep(int64_t count, float learningRate, float momentum, float weightDecay, const float* gradient, float* velocity, float* parameter,
             const int32_t* stop) {
  if (stop && *stop != 0) return;
  for (int64_t k = 0; k < count; ++k) {
    velocity[k] = momentum * velocity[k] + gradient[k] + weightDecay * parameter[k];
    parameter[k] -= learningRate * velocity[k];
  }
}

void adamStep(int64_t count, int64_t step, float learningRate, float beta1, float beta2, float epsilon, float weightDecay, const float* gradient, float* first,
              float* second, float* parameter, const int32_t* stop) {
  if (stop && *stop != 0) return;
  const double correction1 = 1 - std::pow(static_cast<double>(beta1), static_cast<double>(step));
  const double correction2 = 1 - std::pow(static_cast<double>(beta2), static_cast<double>(step));
  const float rate = static_cast<float>(learningRate / correction1), root = static_cast<float>(1 / std::sqrt(correction2));
  for (int64_t k = 0; k < count; ++k) {
    const float g = gradient[k] + weightDecay * parameter[k];
    first[k] = beta1 * first[k] + (1 - beta1) * g;
    second[k] = beta2 * second[k] + (1 - beta2) * g * g;
    parameter[k] -= rate * first[k] / (__builtin_sqrtf(second[k]) * root + epsilon);
  }
}

}  // namespace

void LETHE_PER_ISA(addOptimizerKernels)(TrainKernels& table) {
  table.sgdStep = sgdStep;
  table.adamStep = adamStep;
}

}  // namespace lethe
