// Device code that the kernels of the batched Lasso share. Sums are taken in an order that depends on the sizes only.
#pragma once
#include "cuda/lasso/gpu.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

// Sum over the block, the same in all threads. scratch: (kWarps) shared.
__device__ __forceinline__ double blockSum(double value, double* scratch) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0;
  for (unsigned k = 0; k < blockDim.x / 32; ++k) sum += scratch[k];
  return sum;
}

__device__ __forceinline__ double blockMax(double value, double* scratch) {
  for (int step = 16; step > 0; step /= 2) {
    const double other = __shfl_xor_sync(0xFFFFFFFFu, value, step);
    if (other > value) value = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  double largest = scratch[0];
  for (unsigned k = 1; k < blockDim.x / 32; ++k) largest = scratch[k] > largest ? scratch[k] : largest;
  return largest;
}

// Penalty of a column: its standard deviation in the row set, or 1.
__device__ __forceinline__ double factorOf(const DesignView& design, int32_t seen, int32_t count) {
  if (!design.standardise || seen == 0 || seen == count) return 1;
  const double share = static_cast<double>(seen) / count;
  return sqrt(share * (1 - share));
}

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
