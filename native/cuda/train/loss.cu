// The weighted sum of cross-entropy, logit matching and distillation, and its gradient: a warp for each example, in double.
#include <cmath>

#include "cuda/base/scratch.h"
#include "cuda/train/packs.h"

namespace lethe {
namespace {

constexpr int kWarps = kThreads / 32;

// ---------------------------------------------------------------- kernels

__device__ __forceinline__ double warpSum(double value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
  return value;
}

// log(sum_c exp(z_c / temperature)), shifted by the maximum; NaN if any logit is. Of the whole warp.
__device__ double logSumExp(int64_t classes, const float* z, double temperature, int lane) {
  double top = z[0];
  for (int64_t c = lane; c < classes; c += 32) top = z[c] > top ? z[c] : top;
  for (int step = 16; step > 0; step /= 2) {
    const double other = __shfl_xor_sync(0xFFFFFFFFu, top, step);
    top = other > top ? other : top;
  }
  double sum = 0;
  for (int64_t c = lane; c < classes; c += 32) sum += exp((z[c] - top) / temperature);
  return top / temperature + log(warpSum(sum));
}

// losses: (n). Terms without weight add nothing, not 0 * infinity.
__global__ void __launch_bounds__(kThreads) examples(LossWeights w, double share, int64_t n, int64_t classes, const float* logits, const int32_t* labels,
                                                     const float* targets, float* dLogits, double* losses) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= n) return;  // whole warps
  const float *z = logits + row * classes, *t = targets ? targets + row * classes : nullptr;
  const double count = static_cast<double>(classes), temperature = w.temperature;
  const double normaliser = w.crossEntropy != 0 ? logSumExp(classes, z, 1, lane) : 0;
  const double student = w.distill != 0 ? logSumExp(classes, z, temperature, lane) : 0;
  const double teacher = w.distill != 0 ? logSumExp(classes, t, temperature, lane) : 0;
  double crossEntropy = 0, match = 0, divergence = 0;
  for (int64_t c = lane; c < classes; c += 32) {
    double slope = 0;
    if (w.crossEntropy != 0) {
      const double wanted = w.labelSmoothing / count + (c == labels[row] ? 1 - static_cast<double>(w.labelSmoothing) : 0);
      const double logProbability = z[c] - normaliser;
      crossEntropy -= wanted * logProbability;
      slope += w.crossEntropy * (exp(logProbability) - wanted);
    }
    if (w.matchLogits != 0) {
      const double difference = static_cast<double>(z[c]) - t[c];
      match += difference * difference / count;
      slope += w.matchLogits * 2 * difference / count;
    }
    if (w.distill != 0) {
      const double logQ = z[c] / temperature - student, logP = t[c] / temperature - teacher, p = exp(logP);
      if (p > 0 || p != p) divergence += p * (logP - logQ);
      slope += w.distill * temperature * (exp(logQ) - p);
    }
    dLogits[row * classes + c] = static_cast<float>(share * slope);
  }
  double total = 0;
  if (w.crossEntropy != 0) total += w.crossEntropy * warpSum(crossEntropy);
  if (w.matchLogits != 0) total += w.matchLogits * warpSum(match);
  if (w.distill != 0) total += w.distill * temperature * temperature * warpSum(divergence);
  if (lane == 0) losses[row] = total;
}

// One block: sums of every kThreads-th loss, then of those.
__global__ void __launch_bounds__(kThreads) addLosses(int64_t n, const double* losses, double share, double* loss) {
  __shared__ double sums[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  double sum = 0;
  for (int64_t i = thread; i < n; i += kThreads) sum += losses[i];
  sums[thread] = sum;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (thread < half) sums[thread] += sums[thread + half];
    __syncthreads();
  }
  if (thread == 0) *loss = share * sums[0];
}

// ---------------------------------------------------------------- launchers

void loss(const LossWeights& weights, float weight, int64_t n, int64_t classes, const float* logits, const int32_t* labels, const float* targets,
          float* dLogits, double* result) {
  const double share = static_cast<double>(weight) / static_cast<double>(n);
  double* losses = static_cast<double*>(LETHE_PER_ISA(scratchMemory)(n * static_cast<int64_t>(sizeof(double))));
  launch(static_cast<unsigned>(ceilDivide(n, kWarps)), kThreads, 0, examples, weights, share, n, classes, logits, labels, targets, dLogits, losses);
  launch(1, kThreads, 0, addLosses, n, losses, share, result);
}

}  // namespace

void LETHE_PER_ISA(addLossKernels)(TrainKernels& table) { table.loss = loss; }

}  // namespace lethe
