// Small work on vectors between the kernels of a step: BatchNorm folded to scale and shift, running statistics, sums, finiteness, and the
// step's entry into its epoch. Compiled without fused multiply-adds, so that every level rounds alike.
#include <cmath>

#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

void foldNorm(int64_t channels, float epsilon, const float* mean, const float* variance, const float* gamma, const float* beta, float* inverseStd, float* scale,
              float* shift) {
  for (int64_t c = 0; c < channels; ++c) {
    inverseStd[c] = 1.0f / __builtin_sqrtf(variance[c] + epsilon);
    scale[c] = gamma[c] * inverseStd[c];
    shift[c] = beta[c] - mean[c] * scale[c];
  }
}

void moveRunning(int64_t channels, float momentum, float unbiased, const float* mean, const float* variance, float* runningMean, float* runningVariance) {
  for (int64_t c = 0; c < channels; ++c) {
    runningMean[c] = (1.0f - momentum) * runningMean[c] + momentum * mean[c];
    runningVariance[c] = (1.0f - momentum) * runningVariance[c] + momentum * unbiased * variance[c];
  }
}

void addVector(int64_t count, const float* from, float* to) {
  for (int64_t k = 0; k < count; ++k) to[k] += from[k];
}

void checkFinite(int64_t count, const float* values, EpochState* state) {
  uint32_t bad = 0;
  for (int64_t k = 0; k < count; ++k) {
    uint32_t bits;
    std::memcpy(&bits, values + k, sizeof bits);
    bad |= (bits & 0x7F800000u) == 0x7F800000u;
  }
  if (bad != 0) state->diverged = 1;
}

void endStep(int64_t terms, const double* losses, int64_t walked, int64_t images, EpochState* state) {
  if (state->diverged != 0) return;
  double loss = 0;
  for (int64_t t = 0; t < terms; ++t) loss += losses[t];
  state->gradientImages += images;
  if (!std::isfinite(loss)) {
    state->diverged = 1;
    return;
  }
  state->lossSum += loss * static_cast<double>(walked);
  state->images += walked;
}

}  // namespace

void LETHE_PER_ISA(addVectorKernels)(TrainKernels& table) {
  table.foldNorm = foldNorm;
  table.moveRunning = moveRunning;
  table.addVector = addVector;
  table.checkFinite = checkFinite;
  table.endStep = endStep;
}

}  // namespace lethe
