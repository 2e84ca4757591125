// Weight gradients of bf16 images: rows are (tap, input channel), columns output channels, and the sum goes over output pixels, split among
// blocks into parts that a second kernel adds up in their order.
#include <algorithm>
#include <type_traits>

#include "cuda/train/conv_index.h"
#include "cuda/train/conv_tile.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace {

constexpr int kRows = 128;

__global__ void addParts(const float* parts, int64_t splits, int64_t count, float* dWeight) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  float sum = 0;
  for (int64_t split = 0; split < splits; ++split) sum += parts[split * count + at];
  dWeight[at] = sum;
}

constexpr int kPixelsApart = kThreads / 16, kPixelsEach = kSteps / kPixelsApart;  // of a thread in a stage

// How far an image's data moves on with an output pixel: kPixelsApart pixels on in the order of memory where that crosses no edge, and besides at the end
// of a row, and at the end of an image.
struct Moves {
  int64_t step, row, image;
};
// In vectors of 8 in 32 bits, or one by one.
template <bool vectors>
using Offset = std::conditional_t<vectors, int32_t, int64_t>;

struct WeightGradient {
  ConvShape shape;
  ImageOf<Bf16> x, dy;
  int64_t splits;
  int stepRows, stepColumns;  // kPixelsApart pixels, but for whole images
  Moves xMoves, dyMoves;
  float* parts;               // (splits, kernel, kernel, inChannels, outChannels)
};

// Where a thread is among the output pixels.
template <bool xVectors, bool dyVectors>
struct PixelCursor {
  static constexpr int kXUnit = xVectors ? 8 : 1, kDyUnit = dyVectors ? 8 : 1;
  int left, y, x;  // left: this pixel and those of the thread's after it that there are
  Offset<xVectors> corner;
  Offset<dyVectors> at;

  // At pixel `index` of `pixels`, and a channel of dy.
  __device__ __forceinline__ PixelCursor(const WeightGradient& g, int64_t index, int64_t pixels, int64_t channel) {
    const ConvShape& s = g.shape;
    const int64_t perImage = g.dy.h * g.dy.w, image = index / perImage, inside = index % perImage, row = inside / g.dy.w, column = inside % g.dy.w;
    left = static_cast<int>((pixels - index + kPixelsApart - 1) / kPixelsApart);
    y = static_cast<int>(row);
    x = static_cast<int>(column);
    corner = static_cast<Offset<xVectors>>((g.x.pixel(image, row * s.stride - s.pad, column * s.stride - s.pad) - g.x.data) / kXUnit);
    at = static_cast<Offset<dyVectors>>((g.dy.pixel(image, row, column) - g.dy.data + channel) / kDyUnit);
  }

  // kPixelsApart pixels on.
  __device__ __forceinline__ void advance(const WeightGradient& g) {
    move(g.xMoves.step, g.dyMoves.step);
    x += g.stepColumns;
    y += g.stepRows;
    if (x >= static_cast<int>(g.dy.w)) {
      x -= static_cast<int>(g.dy.w);
      ++y;
      move(g.xMoves.row, g.dyMoves.row);
    }
    if (y >= static_cast<int>(g.dy.h)) {
      y -= static_cast<int>(g.dy.h);
      move(g.xMoves.image, g.dyMoves.image);
    }
  }

 private:
  __device__ __forceinline__ void move(int64_t ofX, int64_t ofDy) {
    corner += static_cast<Offset<xVectors>>(ofX / kXUnit);
    at += static_cast<Offset<dyVectors>>(ofDy / kDyUnit);
  }
};

// xVectors, dyVectors: read 16 bytes at a time.
template <bool xVectors, bool dyVectors, int width>
__global__ void __launch_bounds__(kThreads, 2) sumWeightGradient(WeightGradient g) {
  constexpr int kWide = width / 16, kStageSize = (kRows + width) * kSteps;
  Bf16* tiles = dynamicShared<Bf16>();
  const ConvShape& s = g.shape;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int64_t depth = s.kernel * s.kernel * s.inChannels;
  const int64_t firstRow = static_cast<int64_t>(blockIdx.x) * kRows, firstColumn = static_cast<int64_t>(blockIdx.y) * width, split = blockIdx.z;
  const int64_t pixels = g.dy.n * g.dy.h * g.dy.w, allStages = (pixels + kSteps - 1) / kSteps;
  const int64_t first = allStages * split / g.splits;
  const int stages = static_cast<int>(allStages * (split + 1) / g.splits - first);

  // This thread loads vector `vector` of kPixelsEach pixels of each stage: 8 of the rows, at these offsets from the window's corner, and of the columns.
  constexpr int kOffsets = xVectors ? 1 : 8, xUnit = xVectors ? 8 : 1;
  const int vector = thread % 16;
  Offset<xVectors> offsets[kOffsets];
  for (int k = 0; k < kOffsets; ++k) {
    const int64_t row = firstRow + vector * 8 + k, tap = row / s.inChannels;
    offsets[k] =
        static_cast<Offset<xVectors>>(row < depth ? ((tap / s.kernel) * g.x.rowStride() + tap % s.kernel * s.inChannels + row % s.inChannels) / xUnit : -1);
  }
  const int64_t channel = firstColumn + vector * 8;
  const bool loadsColumns = vector < width / 8 && channel < s.outChannels;
  static_assert(kPixelsApart % 8 == 0);  // the order of vectors within a step repeats
  const int aTo = inStepOrder<kRows>(thread / 16, vector), bTo = inStepOrder<width>(thread / 16, vector);
  PixelCursor<xVectors, dyVectors> at(g, first * kSteps + thread / 16, pixels, channel);

  const auto load = [&](int stage) {
    if (stage < stages) {
      Bf16* a = tiles + stage % kStages * kStageSize;
      Bf16* b = a + kRows * kSteps;
      LETHE_UNROLL
      for (int k = 0; k < kPixelsEach; ++k) {
        const bool inside = at.left-- > 0;
        Bf16* aVector = a + aTo + k * kPixelsApart * kRows;
        if constexpr (xVectors) {
          const bool valid = inside && offsets[0] >= 0;
          copyAsync16(aVector, g.x.data + static_cast<int64_t>(valid ? at.corner + offsets[0] : 0) * 8, valid);
        } else {
          for (int e = 0; e < 8; ++e) aVector[e] = inside && offsets[e] >= 0 ? g.x.data[at.corner + offsets[e]] : Bf16(0.0f);
        }
        if (vector < width / 8) {
          Bf16* bVector = b + bTo + k * kPixelsApart * width;
          if constexpr (dyVectors) {
            const bool valid = inside && loadsColumns;
            copyAsync16(bVector, g.dy.data + static_cast<int64_t>(valid ? at.at : 0) * 8, valid);
          } else {
            for (int e = 0; e < 8; ++e) bVector[e] = inside && channel + e < s.outChannels ? g.dy.data[at.at + e] : Bf16(0.0f);
          }
        }
        at.advance(g);
      }
    }
    commitCopies();
  };

  float sums[kTall][kWide][4] = {};
  const int row = warpRow(warp), column = warpColumn(warp, width);
  for (int stage = 0; stage < kStages - 1; ++stage) load(stage);
  for (int stage = 0; stage < stages; ++stage) {
    waitCopies<kStages - 2>();
    __syncthreads();
    load(stage + kStages - 1);
    const Bf16* a = tiles + stage % kStages * kStageSize;
    multiplyTiles<kRows, width>(a, a + kRows * kSteps, row, column, sums);
  }
  waitCopies<0>();

  float* part = g.parts + split * depth * s.outChannels;
  LETHE_UNROLL
  for (int i = 0; i < kTall; ++i) LETHE_UNROLL
  for (int j = 0; j < kWide; ++j) LETHE_UNROLL
  for (int k = 0; k < 4; ++k) {
    const int64_t atRow = firstRow + row + 16 * i + lane / 4 + k / 2 * 8, atColumn = firstColumn + column + 8 * j + lane % 4 * 2 + k % 2;
    if (atRow < depth && atColumn < s.outChannels) part[atRow * s.outChannels + atColumn] = sums[i][j][k];
  }
}

int64_t widthOf(const ConvShape& s) { return s.outChannels <= 64 ? 64 : 128; }

template <bool xVectors, bool dyVectors, int width>
void launchSum(const WeightGradient& g) {
  const ConvShape& s = g.shape;
  const dim3 grid(static_cast<unsigned>(tilesOf(s.kernel * s.kernel * s.inChannels, kRows)), static_cast<unsigned>(tilesOf(s.outChannels, width)),
                  static_cast<unsigned>(g.splits));
  launch(grid, dim3(kThreads), kStages * (kRows + width) * kSteps * 2, sumWeightGradient<xVectors, dyVectors, width>, g);
}

void weightGradient(const ConvShape& s, const ImageOf<Bf16>& x, const ImageOf<Bf16>& dy, float* dWeight, float* scratch) {
  const int64_t perImage = dy.h * dy.w, stages = tilesOf(dy.n * perImage, kSteps);
  if (stages == 0) return clear(dWeight, weightCount(s) * 4);
  const int64_t splits = std::min(mostSplits(s, kRows, widthOf(s)), stages);
  const int64_t images = kPixelsApart / perImage, downward = kPixelsApart % perImage / dy.w, across = kPixelsApart % perImage % dy.w;
  const auto moves = [&](const ImageOf<Bf16>& image, int64_t stride) {
    const int64_t pixel = stride * image.c, row = stride * image.rowStride();
    return Moves{images * image.imageStride() + downward * row + across * pixel, row - dy.w * pixel, image.imageStride() - dy.h * row};
  };
  const WeightGradient g{
      s, x, dy, splits, static_cast<int>(downward), static_cast<int>(across), moves(x, s.stride), moves(dy, 1), splits == 1 ? dWeight : scratch};
  const bool xVectors = countsVectors(x) && alignedTo16(x.data), dyVectors = countsVectors(dy) && alignedTo16(dy.data);
  if (!dyVectors) {
    launchSum<false, false, 64>(g);
  } else if (!xVectors) {
    launchSum<false, true, 64>(g);
  } else if (widthOf(s) == 64) {
    launchSum<true, true, 64>(g);
  } else {
    launchSum<true, true, 128>(g);
  }
  if (splits > 1) sumParts(scratch, splits, weightCount(s), dWeight);
}

int64_t scratchFloats(const ConvShape& s, int64_t, int64_t) { return std::max(roundedWeightFloats(s), mostSplits(s, kRows, widthOf(s)) * weightCount(s)); }

}  // namespace

void sumParts(const float* parts, int64_t splits, int64_t count, float* dWeight) {
  launch(dim3(static_cast<unsigned>(tilesOf(count, kThreads))), dim3(kThreads), 0, addParts, parts, splits, count, dWeight);
}

}  // namespace LETHE_ISA

void LETHE_PER_ISA(addConvWeightBf16Kernels)(ImageKernels<Bf16>& table) {
  table.convWeightGradient = weightGradient;
  table.convScratchFloats = scratchFloats;
}

}  // namespace lethe
