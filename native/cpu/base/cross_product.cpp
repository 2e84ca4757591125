// A tile of A^T B in registers: six columns of A by two vectors of B leave room for the factors in sixteen registers.
#include "lethe/base/cross_product.h"

#include "cpu/base/simd.h"

namespace lethe {
namespace {

constexpr int kVectors = 2;
constexpr int64_t kWidth = kVectors * kLanes;

void add(const float* a, const float* b, int64_t rows, float* tile, int64_t stride) {
  Vec<kLanes> sum[kTileA][kVectors] = {};
  for (int64_t row = 0; row < rows; ++row) {
    const Vec<kLanes> b0 = load<kLanes>(b + row * kWidth), b1 = load<kLanes>(b + row * kWidth + kLanes);
#pragma GCC unroll 6
    for (int64_t i = 0; i < kTileA; ++i) {
      const Vec<kLanes> factor = broadcast<kLanes>(a[row * kTileA + i]);
      sum[i][0] += factor * b0;
      sum[i][1] += factor * b1;
    }
  }
  for (int64_t i = 0; i < kTileA; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      float* to = tile + i * stride + v * kLanes;
      store<kLanes>(to, load<kLanes>(to) + sum[i][v]);
    }
  }
}

}  // namespace

ProductKernels LETHE_PER_ISA(productKernels)() { return {kWidth, add}; }

}  // namespace lethe
