// Small work on vectors between the kernels of a step: BatchNorm folded to scale and shift, running statistics, sums, finiteness,
// and the step's entry into its epoch.
#include <cmath>

#include "cuda/train/packs.h"

namespace lethe {
namespace {

__device__ __forceinline__ int64_t threadNumber() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

// ---------------------------------------------------------------- kernels

__global__ void fold(int64_t channels, float epsilon, const float* mean, const float* variance, const float* gamma, const float* beta, float* inverseStd,
                     float* scale, float* shift) {
  const int64_t c = threadNumber();
  if (c >= channels) return;
  const float inverse = 1.0f / sqrtf(variance[c] + epsilon), factor = gamma[c] * inverse;
  inverseStd[c] = inverse;
  scale[c] = factor;
  shift[c] = beta[c] - mean[c] * factor;
}

__global__ void move(int64_t channels, float momentum, float unbiased, const float* mean, const float* variance, float* runningMean, float* runningVariance) {
  const int64_t c = threadNumber();
  if (c >= channels) return;
  runningMean[c] = (1.0f - momentum) * runningMean[c] + momentum * mean[c];
  runningVariance[c] = (1.0f - momentum) * runningVariance[c] + momentum * unbiased * variance[c];
}

__global__ void addEach(int64_t count, const float* from, float* to) {
  const int64_t at = threadNumber();
  if (at < count) to[at] += from[at];
}

// A thread looks at every `stride`-th value.
__global__ void lookForNonFinite(int64_t count, int64_t stride, const float* values, EpochState* state) {
  int32_t found = 0;
  for (int64_t at = threadNumber(); at < count; at += stride) found |= !(fabsf(values[at]) <= 3.4028234663852886e38f);
  if (found != 0) atomicOr(&state->diverged, 1);
}

// One warp, whose first thread does it.
__global__ void closeStep(int64_t terms, const double* losses, int64_t walked, int64_t images, EpochState* state) {
  if (threadIdx.x != 0 || state->diverged != 0) return;
  double loss = 0;
  for (int64_t t = 0; t < terms; ++t) loss += losses[t];
  state->gradientImages += images;
  if (!(fabs(loss) <= 1.7976931348623157e308)) {
    state->diverged = 1;
    return;
  }
  state->lossSum += loss * static_cast<double>(walked);
  state->images += walked;
}

// ---------------------------------------------------------------- launchers

unsigned blocksOf(int64_t count) { return static_cast<unsigned>(ceilDivide(count, kThreads)); }

void foldNorm(int64_t channels, float epsilon, const float* mean, const float* variance, const float* gamma, const float* beta, float* inverseStd, float* scale,
              float* shift) {
  launch(blocksOf(channels), kThreads, 0, fold, channels, epsilon, mean, variance, gamma, beta, inverseStd, scale, shift);
}

void moveRunning(int64_t channels, float momentum, float unbiased, const float* mean, const float* variance, float* runningMean, float* runningVariance) {
  launch(blocksOf(channels), kThreads, 0, move, channels, momentum, unbiased, mean, variance, runningMean, runningVariance);
}

void addVector(int64_t count, const float* from, float* to) { launch(blocksOf(count), kThreads, 0, addEach, count, from, to); }

void checkFinite(int64_t count, const float* values, EpochState* state) {
  constexpr unsigned kMostBlocks = 1024;
  const unsigned blocks = blocksOf(count) < kMostBlocks ? blocksOf(count) : kMostBlocks;
  launch(blocks, kThreads, 0, lookForNonFinite, count, int64_t{blocks} * kThreads, values, state);
}

void endStep(int64_t terms, const double* losses, int64_t walked, int64_t images, EpochState* state) {
  launch(1, 32, 0, closeStep, terms, losses, walked, images, state);
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
