// Weight gradients of bf16 images: rows are (tap, input channel), columns output channels, and the sum goes over output pixels, split among
// blocks into parts that a second kernel adds up in their order.
#include <algorithm>

#include "cuda/conv_index.h"
#include "cuda/conv_tile.h"

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

// An output pixel that moves on by 32 in the order of memory without a division.
struct PixelCursor {
  int64_t index = 0, image = 0, y = 0, x = 0;
};

struct WeightGradient {
  ConvShape shape;
  ImageOf<Bf16> x, dy;
  int64_t splits;
  int64_t stepImages, stepRows, stepColumns;  // 32 pixels
  float* parts;                               // (splits, kernel, kernel, inChannels, outChannels)
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
  const int64_t pixels = g.dy.n * g.dy.h * g.dy.w, stages = (pixels + kSteps - 1) / kSteps;
  const int64_t first = stages * split / g.splits, last = stages * (split + 1) / g.splits;

  // This thread loads vector `vector` of kPixelsEach pixels of each stage: 8 of the rows, at these offsets from the window's corner.
  const int vector = thread % 16;
  constexpr int kOffsets = xVectors ? 1 : 8;
  int64_t offsets[kOffsets];
  for (int k = 0; k < kOffsets; ++k) {
    const int64_t row = firstRow + vector * 8 + k, tap = row / s.inChannels;
    offsets[k] = row < depth ? (tap / s.kernel) * g.x.rowStride() + tap % s.kernel * s.inChannels + row % s.inChannels : -1;
  }
  constexpr int kPixelsApart = kThreads / 16, kPixelsEach = kSteps / kPixelsApart;
  PixelCursor pixel[kPixelsEach];
  for (int k = 0; k < kPixelsEach; ++k) {
    const int64_t index = first * kSteps + thread / 16 + kPixelsApart * k, inside = index % (g.dy.h * g.dy.w);
    pixel[k] = {index, index / (g.dy.h * g.dy.w), inside / g.dy.w, inside % g.dy.w};
  }

  const auto load = [&](int64_t stage) {
    if (stage < last) {
      Bf16* a = tiles + (stage - first) % kStages * kStageSize;
      Bf16* b = a + kRows * kSteps;
      for (int k = 0; k < kPixelsEach; ++k) {
        PixelCursor& at = pixel[k];
        const int step = thread / 16 + kPixelsApart * k;
        const bool inside = at.index < pixels;
        const Bf16* corner = inside ? g.x.pixel(at.image, at.y * s.stride - s.pad, at.x * s.stride - s.pad) : g.x.data;
        Bf16* aVector = a + inStepOrder<kRows>(step, vector);
        if constexpr (xVectors) {
          const bool valid = inside && offsets[0] >= 0;
          copyAsync16(aVector, valid ? corner + offsets[0] : g.x.data, valid);
        } else {
          for (int e = 0; e < 8; ++e) aVector[e] = inside && offsets[e] >= 0 ? corner[offsets[e]] : Bf16(0.0f);
        }
        if (vector < width / 8) {
          const int64_t channel = firstColumn + vector * 8;
          const Bf16* from = inside ? g.dy.pixel(at.image, at.y, at.x) + channel : g.dy.data;
          Bf16* bVector = b + inStepOrder<width>(step, vector);
          if constexpr (dyVectors) {
            const bool valid = inside && channel < s.outChannels;
            copyAsync16(bVector, valid ? from : g.dy.data, valid);
          } else {
            for (int e = 0; e < 8; ++e) bVector[e] = inside && channel + e < s.outChannels ? from[e] : Bf16(0.0f);
          }
        }
        at.index += kSteps;
        at.x += g.stepColumns;
        at.y += g.stepRows;
        at.image += g.stepImages;
        if (at.x >= g.dy.w) {
          at.x -= g.dy.w;
          ++at.y;
        }
        if (at.y >= g.dy.h) {
          at.y -= g.dy.h;
          ++at.image;
        }
      }
    }
    commitCopies();
  };

  float sums[kTall][kWide][4] = {};
  const int row = warpRow(warp), column = warpColumn(warp, width);
  for (int k = 0; k < kStages - 1; ++k) load(first + k);
  for (int64_t stage = first; stage < last; ++stage) {
    waitCopies<kStages - 2>();
    __syncthreads();
    load(stage + kStages - 1);
    const Bf16* a = tiles + (stage - first) % kStages * kStageSize;
    multiplyTiles<kRows, width>(a, a + kRows * kSteps, row, column, sums);
  }
  waitCopies<0>();

  float* part = g.parts + split * depth * s.outChannels;
  LETHE_UNROLL
  for (int i = 0; i < kTall; ++i)
    LETHE_UNROLL
    for (int j = 0; j < kWide; ++j)
      LETHE_UNROLL
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
  const WeightGradient g{s,      x, dy, splits, kSteps / perImage, kSteps % perImage / dy.w, kSteps % perImage % dy.w,
                         splits == 1 ? dWeight : scratch};
  const bool xVectors = s.inChannels % 8 == 0 && alignedTo16(x.data), dyVectors = s.outChannels % 8 == 0 && alignedTo16(dy.data);
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

int64_t scratchFloats(const ConvShape& s, int64_t, int64_t) {
  return std::max(roundedWeightFloats(s), mostSplits(s, kRows, widthOf(s)) * weightCount(s));
}

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
