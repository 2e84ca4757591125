// Tiles of bf16 in shared memory and their product on the matrix unit. A tile holds 32 steps of the sum, in one of two orders, either with
// its vectors of 8 numbers permuted so that ldmatrix meets every bank once:
//   row order   (rows, 32): a row's 32 steps side by side
//   step order  (32, width): a step's rows (or columns) side by side
#pragma once
#include "cuda/base/compiler.h"
#include "lethe/base/bf16.h"

namespace lethe {
inline namespace LETHE_ISA {

// Four warps share a tile of 128 rows and `width` columns, each with 64 rows and half of the columns. Reckoned for Hopper, not measured: with 64 x 64
// numbers a warp, shared memory is busy for less time than the products take, with 64 x 32 for more.
constexpr int kSteps = 32, kThreads = 128, kStages = 4, kTall = 4;
__device__ constexpr int warpRow(int warp) { return warp / 2 * 64; }
__device__ constexpr int warpColumn(int warp, int width) { return warp % 2 * width / 2; }

__device__ __forceinline__ int inRowOrder(int row, int vector) { return row * kSteps + (vector ^ (row >> 1 & 3)) * 8; }
template <int width>
__device__ __forceinline__ int inStepOrder(int step, int vector) {
  return step * width + (vector ^ (step & 7)) * 8;
}

// sums[i][j] += rows [row + 16 i, + 16) of a times columns [column + 8 j, + 8) of b, for this warp. aWidth, bWidth: of a tile in step order;
// 0: it is in row order.
template <int aWidth, int bWidth, int wide>
__device__ __forceinline__ void multiplyTiles(const Bf16* a, const Bf16* b, int row, int column, float (&sums)[kTall][wide][4]) {
  // Where the lane loads from at step 0, i = 0 and j = 0. Elsewhere the vector's number differs in bits that are 0 here: 8 numbers a vector.
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int aAt = aWidth == 0 ? inRowOrder(row + lane % 16, lane / 16) : inStepOrder<aWidth>(lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2);
  const int bAt =
      bWidth == 0 ? inRowOrder(column + lane / 16 * 8 + lane % 8, lane / 8 % 2) : inStepOrder<bWidth>(lane / 8 % 2 * 8 + lane % 8, column / 8 + lane / 16);
  LETHE_UNROLL
  for (int step = 0; step < kSteps; step += 16) {
    uint32_t left[kTall][4], right[wide][2];
    LETHE_UNROLL
    for (int i = 0; i < kTall; ++i) {
      if constexpr (aWidth == 0) {
        loadMatrix4(left[i], a + (aAt ^ step) + 16 * i * kSteps);
      } else {
        loadMatrix4Transposed(left[i], a + (aAt ^ 16 * i) + step * aWidth);
      }
    }
    LETHE_UNROLL
    for (int j = 0; j < wide; j += 2) {
      uint32_t both[4];
      if constexpr (bWidth == 0) {
        loadMatrix4(both, b + (bAt ^ step) + 8 * j * kSteps);
      } else {
        loadMatrix4Transposed(both, b + (bAt ^ 8 * j) + step * bWidth);
      }
      right[j][0] = both[0];
      right[j][1] = both[1];
      right[j + 1][0] = both[2];
      right[j + 1][1] = both[3];
    }
    LETHE_UNROLL
    for (int i = 0; i < kTall; ++i) LETHE_UNROLL
    for (int j = 0; j < wide; ++j) mmaBf16(sums[i][j], left[i], right[j]);
  }
}

inline bool alignedTo16(const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; }

}  // namespace LETHE_ISA
}  // namespace lethe
