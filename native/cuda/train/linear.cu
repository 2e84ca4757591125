// The classifier's head: few outputs, so that neither product fills matrix tiles; fp32 with sums in a fixed order.
#include "cuda/train/packs.h"

namespace lethe {
namespace {

constexpr int kOutputs = 8;  // sums a lane holds at a time
constexpr int kWarps = kThreads / 32;
constexpr int kColumns = 32, kSlices = 8;  // weight gradient: columns of a block, and the parts each column's sum is split into

// ---------------------------------------------------------------- kernels

// A warp for each row of x: lanes share the inputs, and add up across the warp.
__global__ void __launch_bounds__(kThreads) forward(int64_t n, int64_t in, int64_t out, const float* x, const float* weight, const float* bias, float* y) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= n) return;  // whole warps
  for (int64_t first = 0; first < out; first += kOutputs) {
    const int count = static_cast<int>(out - first < kOutputs ? out - first : kOutputs);
    float sums[kOutputs] = {};
    for (int64_t k = lane; k < in; k += 32) {
      const float value = x[row * in + k];
      for (int o = 0; o < kOutputs; ++o) {
        if (o < count) sums[o] += value * weight[k * out + first + o];
      }
    }
    for (int o = 0; o < kOutputs; ++o) {
      for (int step = 16; step > 0; step /= 2) sums[o] += __shfl_xor_sync(0xFFFFFFFFu, sums[o], step);
      if (lane == 0 && o < count) y[row * out + first + o] = sums[o] + (bias ? bias[first + o] : 0);
    }
  }
}

// Columns [0, in * out) are those of dWeight, and `out` more those of dBias: there x counts as 1.
__global__ void __launch_bounds__(kThreads) weightGradient(int64_t n, int64_t in, int64_t out, const float* x, const float* dy, float* dWeight, float* dBias) {
  __shared__ float shared[kSlices][kColumns];
  const int lane = static_cast<int>(threadIdx.x) % kColumns, slice = static_cast<int>(threadIdx.x) / kColumns;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + lane, k = column / out, o = column % out;
  float sum = 0;
  if (k < in) {
    for (int64_t i = slice; i < n; i += kSlices) sum += x[i * in + k] * dy[i * out + o];
  } else if (k == in) {
    for (int64_t i = slice; i < n; i += kSlices) sum += dy[i * out + o];
  }
  shared[slice][lane] = sum;
  __syncthreads();
  if (slice != 0) return;
  float total = 0;
  for (int part = 0; part < kSlices; ++part) total += shared[part][lane];
  if (k < in) dWeight[column] = total;
  else if (k == in && dBias) dBias[o] = total;
}

__global__ void __launch_bounds__(kThreads) inputGradient(int64_t n, int64_t in, int64_t out, const float* weight, const float* dy, float* dx) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= n * in) return;
  const int64_t row = at / in, k = at % in;
  float sum = 0;
  for (int64_t o = 0; o < out; ++o) sum += weight[k * out + o] * dy[row * out + o];
  dx[at] = sum;
}

// ---------------------------------------------------------------- launchers

void linear(int64_t n, int64_t in, int64_t out, const float* x, const float* weight, const float* bias, float* y) {
  launch(static_cast<unsigned>(ceilDivide(n, kWarps)), kThreads, 0, forward, n, in, out, x, weight, bias, y);
}

void linearBackward(int64_t n, int64_t in, int64_t out, const float* x, const float* weight, const float* dy, float* dWeight, float* dBias, float* dx) {
  const int64_t columns = in * out + (dBias ? out : 0);
  launch(static_cast<unsigned>(ceilDivide(columns, kColumns)), kThreads, 0, weightGradient, n, in, out, x, dy, dWeight, dBias);
  if (dx) launch(static_cast<unsigned>(ceilDivide(n * in, kThreads)), kThreads, 0, inputGradient, n, in, out, weight, dy, dx);
}

}  // namespace

void LETHE_PER_ISA(addLinearKernels)(TrainKernels& table) {
  table.linear = linear;
  table.linearBackward = linearBackward;
}

}  // namespace lethe
