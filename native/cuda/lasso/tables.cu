// Pairs of all columns at once, a tile of kPairTile x kPairTile columns a block: each thread counts 4 x 4 pairs over words in shared memory.
#include "cuda/lasso/gpu.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

constexpr int kTile = static_cast<int>(kPairTile), kSide = kTile / 4, kWords = 32, kStride = kTile + 4;  // kStride: fewer bank conflicts

// The low halves: 65,536 pairs are those of two columns that every model saw, which no fit looks up, but their neighbours it may.
__device__ uint2 packed(int32_t a, int32_t b, int32_t c, int32_t d) {
  return make_uint2((static_cast<uint32_t>(a) & 0xFFFF) | static_cast<uint32_t>(b) << 16, (static_cast<uint32_t>(c) & 0xFFFF) | static_cast<uint32_t>(d) << 16);
}

__global__ void __launch_bounds__(kThreads) pairsKernel(DesignView design, int32_t rowSet, uint16_t* pairs) {
  __shared__ __align__(16) uint32_t rows[kWords * kStride], others[kWords * kStride];  // (words, columns of the tile)
  if (blockIdx.x > blockIdx.y) return;  // the other triangle is written along with this one
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32, x = thread % kSide, y = thread / kSide;
  const int64_t firstRow = static_cast<int64_t>(blockIdx.y) * kTile, firstOther = static_cast<int64_t>(blockIdx.x) * kTile;
  const uint32_t* inside = design.rowSetRows + rowSet * design.words;
  int32_t sums[4][4] = {};
  for (int64_t from = 0; from < design.words; from += kWords) {
    const int64_t word = from + lane;
    const uint32_t mask = word < design.words ? inside[word] : 0;
    for (int column = warp; column < kTile; column += kWarps) {
      const int64_t row = firstRow + column, other = firstOther + column;
      rows[lane * kStride + column] = mask != 0 && row < design.columns ? design.bits[row * design.words + word] & mask : 0;
      others[lane * kStride + column] = mask != 0 && other < design.columns ? design.bits[other * design.words + word] : 0;
    }
    __syncthreads();
    for (int k = 0; k < kWords; ++k) {
      const uint4 a = *reinterpret_cast<const uint4*>(rows + k * kStride + 4 * y), b = *reinterpret_cast<const uint4*>(others + k * kStride + 4 * x);
      const uint32_t left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
      LETHE_UNROLL
      for (int i = 0; i < 4; ++i) {
        LETHE_UNROLL
        for (int j = 0; j < 4; ++j) sums[i][j] += __popc(left[i] & right[j]);
      }
    }
    __syncthreads();
  }
  LETHE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int64_t row = firstRow + 4 * y + i, other = firstOther + 4 * x + i;
    if (row < design.columns) {
      *reinterpret_cast<uint2*>(pairs + row * design.pairStride + firstOther + 4 * x) = packed(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
    }
    if (other < design.columns && blockIdx.x != blockIdx.y) {  // a tile on the diagonal has written it above
      *reinterpret_cast<uint2*>(pairs + other * design.pairStride + firstRow + 4 * y) = packed(sums[0][i], sums[1][i], sums[2][i], sums[3][i]);
    }
  }
}

}  // namespace

void countAllPairs(const DesignView& design, int32_t rowSet, uint16_t* pairs) {
  const unsigned tiles = static_cast<unsigned>(design.pairStride / kPairTile);
  launch(dim3(tiles, tiles), dim3(kThreads), 0, pairsKernel, design, rowSet, pairs);
}

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
