// Convolutions of bf16 images and their input gradients: implicit products on the matrix unit, 128 pixels x 128 or 64 channels a block.
#include "cuda/train/conv_index.h"
#include "cuda/train/conv_tile.h"

namespace lethe {
namespace {

constexpr int kPixels = 128;

// Weights in scratch: (kernel, kernel, inChannels, padded) in bf16, padded: outChannels up to a multiple of 8, filled with zeros.
struct Convolution {
  ConvShape shape;
  ImageOf<Bf16> from, to;
  const Bf16* weight;
  int64_t padded;
  bool storeVectors;  // 16 bytes at a time
};

__global__ void roundWeights(const float* weight, int64_t rows, int64_t columns, int64_t padded, Bf16* rounded) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= rows * padded) return;
  const int64_t column = at % padded;
  rounded[at] = Bf16(column < columns ? weight[at / padded * columns + column] : 0.0f);
}

// The tile's sums, through shared memory, so that a pixel's channels are written side by side. toAt: (kPixels) where pixels lie, or -1.
template <int width>
__device__ void storeTile(const Convolution& c, const float (&sums)[kTall][width / 16][4], const int64_t* toAt, int64_t firstChannel, Bf16* tiles) {
  constexpr int kStride = width + 8;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int row = warpRow(warp), column = warpColumn(warp, width);
  LETHE_UNROLL
  for (int i = 0; i < kTall; ++i) LETHE_UNROLL
  for (int j = 0; j < width / 16; ++j) LETHE_UNROLL
  for (int k = 0; k < 4; ++k) tiles[(row + 16 * i + lane / 4 + k / 2 * 8) * kStride + column + 8 * j + lane % 4 * 2 + k % 2] = Bf16(sums[i][j][k]);
  __syncthreads();
  for (int k = thread; k < kPixels * width / 8; k += kThreads) {
    const int pixel = k / (width / 8), vector = k % (width / 8) * 8;
    if (toAt[pixel] < 0) continue;
    Bf16* to = c.to.data + toAt[pixel] + firstChannel + vector;
    const Bf16* result = tiles + pixel * kStride + vector;
    if (c.storeVectors) {
      if (firstChannel + vector < c.to.c) *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(result);
    } else {
      for (int e = 0; e < 8 && firstChannel + vector + e < c.to.c; ++e) to[e] = result[e];
    }
  }
}

// vectors: pixels are read 16 bytes at a time.
template <bool gradient, bool vectors, int width>
__global__ void __launch_bounds__(kThreads, 2) convolve(Convolution c) {
  constexpr int kWide = width / 16;
  constexpr int kStageSize = (kPixels + width) * kSteps;
  __shared__ int64_t fromAt[kPixels], toAt[kPixels];
  Bf16* tiles = dynamicShared<Bf16>();

  const ConvShape& s = c.shape;
  const int64_t phase = blockIdx.z;
  const Axis rows = gradient ? gradientAxis(s, phase / s.stride, c.to.h) : forwardAxis(s, c.to.h);
  const Axis columns = gradient ? gradientAxis(s, phase % s.stride, c.to.w) : forwardAxis(s, c.to.w);
  const int64_t firstPixel = static_cast<int64_t>(blockIdx.x) * kPixels, firstChannel = static_cast<int64_t>(blockIdx.y) * width;
  if (firstPixel >= c.to.n * rows.count * columns.count) return;  // phases differ in size
  findPixels(rows, columns, c.from, c.to, firstPixel, kPixels, fromAt, toAt);
  __syncthreads();

  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int channels = static_cast<int>(gradient ? c.padded : s.inChannels), tapsY = static_cast<int>(rows.taps), tapsX = static_cast<int>(columns.taps);
  const int depth = tapsY * tapsX * channels, stages = (depth + kSteps - 1) / kSteps;
  TapCursor here, weightHere;  // where this thread's pixels and weights are in the sum
  if (depth > 0) here.advance(vectors ? thread % 4 * 8 : lane, channels, tapsX);
  if (depth > 0) weightHere.advance(thread % 4 * 8, channels, tapsX);

  // in vectors of 8
  constexpr int kPixelLoads = kPixels * 4 / kThreads, kWeightLoads = width * 4 / kThreads;
  const int rowVectors = static_cast<int>(c.from.rowStride() / 8), pixelVectors = static_cast<int>(c.from.c / 8);
  const int paddedVectors = static_cast<int>(c.padded / 8), inChannels = static_cast<int>(s.inChannels), kernel = static_cast<int>(s.kernel);
  const int tapY = static_cast<int>(rows.tapFirst), tapX = static_cast<int>(columns.tapFirst), tapStepY = static_cast<int>(rows.tapStep),
            tapStepX = static_cast<int>(columns.tapStep);
  int fromVector[kPixelLoads];
  for (int k = 0; k < kPixelLoads; ++k) fromVector[k] = static_cast<int>(fromAt[thread / 4 + k * (kThreads / 4)] / 8);
  const int column0 = static_cast<int>(firstChannel) + thread / 4, step0 = thread / (width / 8), vector0 = thread % (width / 8);
  const int channel0 = static_cast<int>(firstChannel) + vector0 * 8;
  const bool channelThere = channel0 < c.padded;
  const int aTo = inRowOrder(thread / 4, thread % 4), bTo = gradient ? aTo : inStepOrder<width>(step0, vector0);

  const auto load = [&](int stage) {
    if (stage < stages) {
      Bf16* a = tiles + stage % kStages * kStageSize;
      Bf16* b = a + kPixels * kSteps;
      const bool inside = here.y < tapsY;
      if constexpr (vectors) {
        const int offset = inside ? here.y * rowVectors + here.x * pixelVectors + here.channel / 8 : 0;
        for (int k = 0; k < kPixelLoads; ++k) {
          copyAsync16(a + aTo + k * (kThreads / 4) * kSteps, c.from.data + static_cast<int64_t>(fromVector[k] + offset) * 8, inside);
        }
      } else {
        const bool there = inside && here.channel < c.from.c;
        const Bf16* from = c.from.data + (inside ? here.y * c.from.rowStride() + here.x * c.from.c + here.channel : 0);
        for (int k = 0; k < kPixels * 32 / kThreads; ++k) {
          const int row = warp + k * (kThreads / 32);
          a[inRowOrder(row, lane / 8) + lane % 8] = there ? from[fromAt[row]] : Bf16(0.0f);
        }
      }
      if constexpr (gradient) {
        const TapCursor& at = vectors ? here : weightHere;
        const bool tapped = at.y < tapsY;
        const int tap = (tapY + tapStepY * at.y) * kernel + tapX + tapStepX * at.x;
        const int offset = (tap * inChannels + column0) * paddedVectors + at.channel / 8;
        for (int k = 0; k < kWeightLoads; ++k) {
          const bool valid = tapped && column0 + k * (kThreads / 4) < inChannels;
          copyAsync16(b + bTo + k * (kThreads / 4) * kSteps, c.weight + static_cast<int64_t>(valid ? offset + k * (kThreads / 4) * paddedVectors : 0) * 8,
                      valid);
        }
        if constexpr (!vectors) weightHere.advance(kSteps, channels, tapsX);
      } else {
        constexpr int kStepsApart = kThreads / (width / 8);  // a multiple of 8: the order within a step repeats
        const int row = stage * kSteps + step0, offset = row * paddedVectors + channel0 / 8;
        for (int k = 0; k < kWeightLoads; ++k) {
          const bool valid = channelThere && row + k * kStepsApart < depth;
          copyAsync16(b + bTo + k * kStepsApart * width, c.weight + static_cast<int64_t>(valid ? offset + k * kStepsApart * paddedVectors : 0) * 8, valid);
        }
      }
      here.advance(kSteps, channels, tapsX);
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
    multiplyTiles<0, gradient ? 0 : width>(a, a + kPixels * kSteps, row, column, sums);
  }
  waitCopies<0>();
  __syncthreads();

  storeTile<width>(c, sums, toAt, firstChannel, tiles);
}

template <bool gradient, bool vectors, int width>
void launchConvolve(const Convolution& c) {
  const int64_t stride = gradient ? c.shape.stride : 1;
  const int64_t pixels = c.to.n * tilesOf(c.to.h, stride) * tilesOf(c.to.w, stride);  // of the largest phase
  const dim3 grid(static_cast<unsigned>(tilesOf(pixels, kPixels)), static_cast<unsigned>(tilesOf(c.to.c, width)), static_cast<unsigned>(stride * stride));
  launch(grid, dim3(kThreads), kStages * (kPixels + width) * kSteps * 2, convolve<gradient, vectors, width>, c);
}

template <bool gradient>
void run(const ConvShape& s, const ImageOf<Bf16>& from, const float* weight, const ImageOf<Bf16>& to, float* scratch) {
  if (to.n * to.h * to.w == 0) return;
  Bf16* rounded = reinterpret_cast<Bf16*>((reinterpret_cast<uintptr_t>(scratch) + 15) / 16 * 16);
  const int64_t rows = s.kernel * s.kernel * s.inChannels, padded = paddedChannels(s);
  const dim3 roundingGrid(static_cast<unsigned>(tilesOf(rows * padded, kThreads)));
  launch(roundingGrid, dim3(kThreads), 0, roundWeights, weight, rows, s.outChannels, padded, rounded);
  const Convolution c{s, from, to, rounded, padded, to.c % 8 == 0 && alignedTo16(to.data)};
  if (!countsVectors(from) || !alignedTo16(from.data)) {
    launchConvolve<gradient, false, 64>(c);
  } else if (to.c <= 64) {
    launchConvolve<gradient, true, 64>(c);
  } else {
    launchConvolve<gradient, true, 128>(c);
  }
}

}  // namespace

void LETHE_PER_ISA(addConvBf16Kernels)(ImageKernels<Bf16>& table) {
  table.convForward = run<false>;
  table.convInputGradient = run<true>;
}

}  // namespace lethe
