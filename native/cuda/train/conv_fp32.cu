// Convolutions of fp32 images and their gradients: 64 x 64 tiles of the implicit products (see conv_index.h), 4 x 4 results a thread.
#include <algorithm>

#include "cuda/train/conv_index.h"

namespace lethe {
namespace {

constexpr int kSide = 64, kDepth = 16, kBlock = 256;

// sums += a b for the thread's 4 x 4 results. a, b: (kDepth, kSide).
__device__ __forceinline__ void multiply(const float (*a)[kSide], const float (*b)[kSide], float (&sums)[4][4]) {
  const int thread = static_cast<int>(threadIdx.x), row = thread / 16 * 4, column = thread % 16 * 4;
  for (int k = 0; k < kDepth; ++k) {
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j) sums[i][j] += a[k][row + i] * b[k][column + j];
  }
}

template <bool gradient>
__global__ void __launch_bounds__(kBlock) convolve(ConvShape s, ImageOf<float> from, const float* weight, ImageOf<float> to) {
  __shared__ int64_t fromAt[kSide], toAt[kSide];
  __shared__ __align__(16) float a[kDepth][kSide], b[kDepth][kSide];
  const int64_t phase = blockIdx.z;
  const Axis rows = gradient ? gradientAxis(s, phase / s.stride, to.h) : forwardAxis(s, to.h);
  const Axis columns = gradient ? gradientAxis(s, phase % s.stride, to.w) : forwardAxis(s, to.w);
  const int64_t firstPixel = static_cast<int64_t>(blockIdx.x) * kSide, firstChannel = static_cast<int64_t>(blockIdx.y) * kSide;
  if (firstPixel >= to.n * rows.count * columns.count) return;  // phases differ in size
  findPixels(rows, columns, from, to, firstPixel, kSide, fromAt, toAt);

  const int thread = static_cast<int>(threadIdx.x), step = thread % kDepth;
  const int64_t depth = rows.taps * columns.taps * from.c;
  const int channels = static_cast<int>(from.c), tapsX = static_cast<int>(columns.taps);
  TapCursor here;
  if (depth > 0) here.advance(step, channels, tapsX);
  float sums[4][4] = {};
  for (int64_t done = 0; done < depth; done += kDepth) {
    __syncthreads();
    const bool inside = here.y < rows.taps;
    const int64_t offset = here.y * from.rowStride() + here.x * from.c + here.channel;
    const int64_t tap = (rows.tapFirst + rows.tapStep * here.y) * s.kernel + columns.tapFirst + columns.tapStep * here.x;
    for (int k = thread / kDepth; k < kSide; k += kBlock / kDepth) {
      a[step][k] = inside ? from.data[fromAt[k] + offset] : 0.0f;
      const int64_t channel = firstChannel + k;
      if constexpr (gradient) b[step][k] = inside && channel < to.c ? weight[(tap * s.inChannels + channel) * s.outChannels + here.channel] : 0.0f;
    }
    for (int k = thread; k < kDepth * kSide && !gradient; k += kBlock) {
      const int64_t row = done + k / kSide, channel = firstChannel + k % kSide;
      b[k / kSide][k % kSide] = row < depth && channel < to.c ? weight[row * s.outChannels + channel] : 0.0f;
    }
    here.advance(kDepth, channels, tapsX);
    __syncthreads();
    multiply(a, b, sums);
  }
  __syncthreads();
  for (int i = 0; i < 4; ++i) {
    const int64_t at = toAt[thread / 16 * 4 + i];
    for (int j = 0; j < 4; ++j) {
      const int64_t channel = firstChannel + thread % 16 * 4 + j;
      if (at >= 0 && channel < to.c) to.data[at + channel] = sums[i][j];
    }
  }
}

// parts: (gridDim.z, kernel, kernel, inChannels, outChannels)
__global__ void __launch_bounds__(kBlock) sumWeightGradient(ConvShape s, ImageOf<float> x, ImageOf<float> dy, float* parts) {
  __shared__ int64_t xAt[kDepth], dyAt[kDepth];  // of the stage's pixels; -1 behind the last
  __shared__ __align__(16) float a[kDepth][kSide], b[kDepth][kSide];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kSide;
  const int64_t depth = s.kernel * s.kernel * s.inChannels, splits = gridDim.z, split = blockIdx.z;
  const int64_t firstRow = static_cast<int64_t>(blockIdx.x) * kSide, firstColumn = static_cast<int64_t>(blockIdx.y) * kSide;
  const int64_t perImage = dy.h * dy.w, pixels = dy.n * perImage, stages = (pixels + kDepth - 1) / kDepth;
  const int64_t row = firstRow + lane, tap = row / s.inChannels, channel = firstColumn + lane;
  const int64_t offset = tap / s.kernel * x.rowStride() + tap % s.kernel * s.inChannels + row % s.inChannels;  // from the window's corner
  float sums[4][4] = {};
  for (int64_t stage = stages * split / splits; stage < stages * (split + 1) / splits; ++stage) {
    __syncthreads();
    if (thread < kDepth) {
      const int64_t pixel = stage * kDepth + thread, image = pixel / perImage, y = pixel % perImage / dy.w, column = pixel % perImage % dy.w;
      xAt[thread] = pixel < pixels ? x.pixel(image, y * s.stride - s.pad, column * s.stride - s.pad) - x.data : -1;
      dyAt[thread] = pixel < pixels ? dy.pixel(image, y, column) - dy.data : -1;
    }
    __syncthreads();
    for (int k = thread / kSide; k < kDepth; k += kBlock / kSide) {
      a[k][lane] = xAt[k] >= 0 && row < depth ? x.data[xAt[k] + offset] : 0.0f;
      b[k][lane] = dyAt[k] >= 0 && channel < s.outChannels ? dy.data[dyAt[k] + channel] : 0.0f;
    }
    __syncthreads();
    multiply(a, b, sums);
  }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      const int64_t toRow = firstRow + thread / 16 * 4 + i, toColumn = firstColumn + thread % 16 * 4 + j;
      if (toRow < depth && toColumn < s.outChannels) parts[(split * depth + toRow) * s.outChannels + toColumn] = sums[i][j];
    }
}

template <bool gradient>
void run(const ConvShape& s, const ImageOf<float>& from, const float* weight, const ImageOf<float>& to, float*) {
  if (to.n * to.h * to.w == 0) return;
  const int64_t stride = gradient ? s.stride : 1;
  const int64_t pixels = to.n * tilesOf(to.h, stride) * tilesOf(to.w, stride);  // of the largest phase
  const dim3 grid(static_cast<unsigned>(tilesOf(pixels, kSide)), static_cast<unsigned>(tilesOf(to.c, kSide)), static_cast<unsigned>(stride * stride));
  launch(grid, dim3(kBlock), 0, convolve<gradient>, s, from, weight, to);
}

void weightGradient(const ConvShape& s, const ImageOf<float>& x, const ImageOf<float>& dy, float* dWeight, float* scratch) {
  const int64_t stages = tilesOf(dy.n * dy.h * dy.w, kDepth);
  if (stages == 0) return clear(dWeight, weightCount(s) * 4);
  const int64_t splits = std::min(mostSplits(s, kSide, kSide), stages);
  const dim3 grid(static_cast<unsigned>(tilesOf(s.kernel * s.kernel * s.inChannels, kSide)), static_cast<unsigned>(tilesOf(s.outChannels, kSide)),
                  static_cast<unsigned>(splits));
  launch(grid, dim3(kBlock), 0, sumWeightGradient, s, x, dy, splits == 1 ? dWeight : scratch);
  if (splits > 1) sumParts(scratch, splits, weightCount(s), dWeight);
}

int64_t scratchFloats(const ConvShape& s, int64_t, int64_t) { return mostSplits(s, kSide, kSide) * weightCount(s); }

}  // namespace

void LETHE_PER_ISA(addConvKernels)(ImageKernels<float>& table) {
  table.convForward = run<false>;
  table.convInputGradient = run<true>;
}

void LETHE_PER_ISA(addConvWeightKernels)(ImageKernels<float>& table) {
  table.convWeightGradient = weightGradient;
  table.convScratchFloats = scratchFloats;
}

}  // namespace lethe
