// The classifier's linear layer and its gradients.
#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

void linear(int64_t n, int64_t in, int64_t out, const float* x, const float* weight, const float* bias, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    float* row = y + i * out;
    for (int64_t o = 0; o < out; ++o) row[o] = bias ? bias[o] : 0;
    for (int64_t k = 0; k < in; ++k)
      for (int64_t o = 0; o < out; ++o) row[o] += x[i * in + k] * weight[k * out + o];
  }
}

void linearBackward(int64_t n, int64_t in, int64_t out, const float* x, const float* weight, const float* dy, float* dWeight, float* dBias, float* dx) {
  std::memset(dWeight, 0, static_cast<size_t>(in * out) * sizeof(float));
  if (dBias) std::memset(dBias, 0, static_cast<size_t>(out) * sizeof(float));
  for (int64_t i = 0; i < n; ++i) {
    const float* grad = dy + i * out;
    for (int64_t k = 0; k < in; ++k)
      for (int64_t o = 0; o < out; ++o) dWeight[k * out + o] += x[i * in + k] * grad[o];
    for (int64_t o = 0; dBias && o < out; ++o) dBias[o] += grad[o];
    for (int64_t k = 0; dx && k < in; ++k) {
      float sum = 0;
      for (int64_t o = 0; o < out; ++o) sum += weight[k * out + o] * grad[o];
      dx[i * in + k] = sum;
    }
  }
}

}  // namespace

void LETHE_PER_ISA(addLinearKernels)(TrainKernels& table) {
  table.linear = linear;
  table.linearBackward = linearBackward;
}

}  // namespace lethe
