// BatchNorm statistics, its affine map with ReLU, and its backward pass. A thread keeps its channels and walks over pixels, so that what
// belongs to a channel is loaded once. Sums over pixels go in two levels, both in a fixed order: threads of a block into one row of
// partial sums, and the rows into the result. They are in double: the rate of these kernels is that of the memory all the same.
#include "cuda/base/scratch.h"
#include "cuda/train/packs.h"

namespace lethe {
namespace {

constexpr int64_t kMostRows = 512;  // of partial sums
constexpr int kColumns = 32, kSlices = 8;  // the shape of the second level's blocks

// ---------------------------------------------------------------- kernels

// Adds the two sums of each channel over the lanes of the block; row: (2, channels) of this block.
template <int V>
__device__ void storeSums(const Cover& cover, const Place& place, const double (&first)[V], const double (&second)[V], int64_t channels, double* row) {
  double* shared = dynamicShared<double>();  // (lanes, packs * V)
  const int width = cover.packs * V;
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t base = static_cast<int64_t>(blockIdx.y) * width;
  for (int sum = 0; sum < 2; ++sum) {
    if (place.lane < place.lanes) {
      for (int v = 0; v < V; ++v) shared[place.lane * width + thread % cover.packs * V + v] = sum == 0 ? first[v] : second[v];
    }
    __syncthreads();
    for (int column = thread; column < width; column += kThreads) {
      double total = 0;
      for (int lane = 0; lane < place.lanes; ++lane) total += shared[lane * width + column];
      if (base + column < channels) row[sum * channels + base + column] = total;
    }
    __syncthreads();
  }
}

// The sums of one channel over all rows, for the threads of slice 0; block (kColumns, kSlices).
__device__ inline void addRows(const double* rows, int64_t numRows, int64_t channels, int64_t channel, double& first, double& second) {
  __shared__ double shared[2][kSlices][kColumns];
  const int slice = static_cast<int>(threadIdx.y), column = static_cast<int>(threadIdx.x);
  double a = 0, b = 0;
  for (int64_t row = slice; row < numRows && channel < channels; row += kSlices) {
    a += rows[row * 2 * channels + channel];
    b += rows[(row * 2 + 1) * channels + channel];
  }
  shared[0][slice][column] = a;
  shared[1][slice][column] = b;
  __syncthreads();
  first = second = 0;
  for (int k = 0; k < kSlices; ++k) {
    first += shared[0][k][column];
    second += shared[1][k][column];
  }
}

// Squares of fp32 values are exact in double, so that E[x^2] - mean^2 loses nothing that fp32 could hold.
template <int V, typename Value>
__global__ void __launch_bounds__(kThreads) sumSquares(ImageOf<Value> x, Cover cover, double* rows) {
  const Place place = placeOf<V>(cover, x.c);
  double sum[V] = {}, square[V] = {};
  if (place.active) {
    eachPixel(x, cover, place, [&](int64_t image, int64_t y, int64_t px) {
      float value[V];
      load<V>(x.pixel(image, y, px) + place.channel, value);
      for (int v = 0; v < V; ++v) {
        const double wide = value[v];
        sum[v] += wide;
        square[v] += wide * wide;
      }
    });
  }
  storeSums<V>(cover, place, sum, square, x.c, rows + static_cast<int64_t>(blockIdx.x) * 2 * x.c);
}

__global__ void finishStatistics(const double* rows, int64_t numRows, int64_t channels, double count, float* mean, float* variance) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  double sum, square;
  addRows(rows, numRows, channels, channel, sum, square);
  if (threadIdx.y != 0 || channel >= channels) return;
  const double average = sum / count, spread = square / count - average * average;
  mean[channel] = static_cast<float>(average);
  variance[channel] = static_cast<float>(spread < 0 ? 0 : spread);
}

template <int V, typename Value>
__global__ void __launch_bounds__(kThreads) affineMap(ImageOf<Value> x, Cover cover, const float* scale, const float* shift, bool relu, ImageOf<Value> to) {
  const Place place = placeOf<V>(cover, x.c);
  if (!place.active) return;
  float scales[V], shifts[V];
  for (int v = 0; v < V; ++v) scales[v] = scale[place.channel + v], shifts[v] = shift[place.channel + v];
  eachPixel(x, cover, place, [&](int64_t image, int64_t y, int64_t px) {
    float value[V];
    load<V>(x.pixel(image, y, px) + place.channel, value);
    for (int v = 0; v < V; ++v) {
      value[v] = value[v] * scales[v] + shifts[v];
      if (relu && value[v] < 0) value[v] = 0;  // NaN stays NaN
    }
    store<V>(to.pixel(image, y, px) + place.channel, value);
  });
}

// z = scale * x + shift before the ReLU.
template <int V>
struct Mask {
  float scale[V], shift[V];
  bool relu;
  __device__ __forceinline__ Mask(int64_t channel, const float* mean, const float* inverseStd, const float* gamma, const float* beta, bool relu_)
      : relu(relu_) {
    for (int v = 0; v < V; ++v) {
      scale[v] = gamma[channel + v] * inverseStd[channel + v];
      shift[v] = beta[channel + v] - scale[v] * mean[channel + v];
    }
  }
  __device__ __forceinline__ float apply(float x, float dy, int v) const { return relu && x * scale[v] + shift[v] <= 0 ? 0 : dy; }
};

// Sums of dz and dz * (x - mean).
template <int V, typename Value>
__global__ void __launch_bounds__(kThreads) sumGradients(ImageOf<Value> x, ImageOf<Value> dy, Cover cover, const float* mean, const float* inverseStd,
                                                         const float* gamma, const float* beta, bool relu, double* rows) {
  const Place place = placeOf<V>(cover, x.c);
  double sum[V] = {}, product[V] = {};
  if (place.active) {
    const Mask<V> mask(place.channel, mean, inverseStd, gamma, beta, relu);
    float means[V];
    for (int v = 0; v < V; ++v) means[v] = mean[place.channel + v];
    eachPixel(x, cover, place, [&](int64_t image, int64_t y, int64_t px) {
      float value[V], grad[V];
      load<V>(x.pixel(image, y, px) + place.channel, value);
      load<V>(dy.pixel(image, y, px) + place.channel, grad);
      for (int v = 0; v < V; ++v) {
        const float dz = mask.apply(value[v], grad[v], v);
        sum[v] += static_cast<double>(dz);
        product[v] += static_cast<double>(dz * (value[v] - means[v]));
      }
    });
  }
  storeSums<V>(cover, place, sum, product, x.c, rows + static_cast<int64_t>(blockIdx.x) * 2 * x.c);
}

// slope, offset (channels): dx = scale * dz + (x - mean) * slope + offset.
__global__ void finishGradients(const double* rows, int64_t numRows, int64_t channels, double count, const float* inverseStd, const float* gamma,
                                bool batchStatistics, float* dGamma, float* dBeta, float* slope, float* offset) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  double sum, product;
  addRows(rows, numRows, channels, channel, sum, product);
  if (threadIdx.y != 0 || channel >= channels) return;
  const double inverse = inverseStd[channel], scale = gamma[channel] * inverse;
  dBeta[channel] = static_cast<float>(sum);
  dGamma[channel] = static_cast<float>(product * inverse);
  slope[channel] = batchStatistics ? static_cast<float>(-scale * inverse * inverse * product / count) : 0;
  offset[channel] = batchStatistics ? static_cast<float>(-scale * sum / count) : 0;
}

template <int V, typename Value>
__global__ void __launch_bounds__(kThreads)
    inputGradient(ImageOf<Value> x, ImageOf<Value> dy, Cover cover, const float* mean, const float* inverseStd, const float* gamma, const float* beta,
                  bool relu, const float* slope, const float* offset, ImageOf<Value> dx) {
  const Place place = placeOf<V>(cover, x.c);
  if (!place.active) return;
  const Mask<V> mask(place.channel, mean, inverseStd, gamma, beta, relu);
  float means[V], slopes[V], offsets[V];
  for (int v = 0; v < V; ++v) {
    means[v] = mean[place.channel + v];
    slopes[v] = slope[place.channel + v];
    offsets[v] = offset[place.channel + v];
  }
  eachPixel(x, cover, place, [&](int64_t image, int64_t y, int64_t px) {
    float value[V], grad[V];
    load<V>(x.pixel(image, y, px) + place.channel, value);
    load<V>(dy.pixel(image, y, px) + place.channel, grad);
    for (int v = 0; v < V; ++v) grad[v] = mask.scale[v] * mask.apply(value[v], grad[v], v) + ((value[v] - means[v]) * slopes[v] + offsets[v]);
    store<V>(dx.pixel(image, y, px) + place.channel, grad);
  });
}

// ---------------------------------------------------------------- launchers

// Blocks that sum: at most so many that their rows fit the scratch.
template <int V, typename Value>
Cover sumCover(const ImageOf<Value>& x) {
  const int64_t fitting = kScratchBytes / (2 * x.c * static_cast<int64_t>(sizeof(double))) - 1;  // a row's room is left for slope and offset
  return coverOf<V>(x, 16, fitting < 1 ? 1 : fitting < kMostRows ? fitting : kMostRows);
}

int64_t sharedBytes(const Cover& cover, int v) { return int64_t{kThreads} / cover.packs * cover.packs * v * static_cast<int64_t>(sizeof(double)); }

template <int V, typename Value>
void statisticsBy(const ImageOf<Value>& x, float* mean, float* variance) {
  const Cover cover = sumCover<V>(x);
  const dim3 grid = gridOf<V>(x, cover);
  double* rows = static_cast<double*>(LETHE_PER_ISA(scratchMemory)(int64_t{grid.x} * 2 * x.c * static_cast<int64_t>(sizeof(double))));
  launch(grid, kThreads, sharedBytes(cover, V), sumSquares<V, Value>, x, cover, rows);
  launch(static_cast<unsigned>(ceilDivide(x.c, kColumns)), dim3(kColumns, kSlices), 0, finishStatistics, rows, int64_t{grid.x}, x.c,
         static_cast<double>(x.n * x.h * x.w), mean, variance);
}

template <typename Value>
void batchNormStatistics(const ImageOf<Value>& x, float* mean, float* variance) {
  if (wide(x)) statisticsBy<kWide<Value>>(x, mean, variance);
  else statisticsBy<1>(x, mean, variance);
}

constexpr int64_t kPixelsPerThread = 4, kAnyBlocks = 0x7FFFFFFF;

template <int V, typename Value>
void affineBy(const ImageOf<Value>& x, const float* scale, const float* shift, bool relu, const ImageOf<Value>& y) {
  const Cover cover = coverOf<V>(x, kPixelsPerThread, kAnyBlocks);
  launch(gridOf<V>(x, cover), kThreads, 0, affineMap<V, Value>, x, cover, scale, shift, relu, y);
}

template <typename Value>
void affine(const ImageOf<Value>& x, const float* scale, const float* shift, bool relu, const ImageOf<Value>& y) {
  if (wide(x, y)) affineBy<kWide<Value>>(x, scale, shift, relu, y);
  else affineBy<1>(x, scale, shift, relu, y);
}

template <int V, typename Value>
void backwardBy(const ImageOf<Value>& x, const ImageOf<Value>& dy, const float* mean, const float* inverseStd, const float* gamma, const float* beta, bool relu,
                bool batchStatistics, float* dGamma, float* dBeta, const ImageOf<Value>& dx) {
  const Cover sums = sumCover<V>(x);
  const dim3 grid = gridOf<V>(x, sums);
  const int64_t rowBytes = 2 * x.c * static_cast<int64_t>(sizeof(double));
  double* rows = static_cast<double*>(LETHE_PER_ISA(scratchMemory)((int64_t{grid.x} + 1) * rowBytes));
  float* slope = reinterpret_cast<float*>(rows + int64_t{grid.x} * 2 * x.c);
  launch(grid, kThreads, sharedBytes(sums, V), sumGradients<V, Value>, x, dy, sums, mean, inverseStd, gamma, beta, relu, rows);
  launch(static_cast<unsigned>(ceilDivide(x.c, kColumns)), dim3(kColumns, kSlices), 0, finishGradients, rows, int64_t{grid.x}, x.c,
         static_cast<double>(x.n * x.h * x.w), inverseStd, gamma, batchStatistics, dGamma, dBeta, slope, slope + x.c);
  const Cover cover = coverOf<V>(x, kPixelsPerThread, kAnyBlocks);
  launch(gridOf<V>(x, cover), kThreads, 0, inputGradient<V, Value>, x, dy, cover, mean, inverseStd, gamma, beta, relu, slope, slope + x.c, dx);
}

template <typename Value>
void batchNormBackward(const ImageOf<Value>& x, const ImageOf<Value>& dy, const float* mean, const float* inverseStd, const float* gamma, const float* beta,
                       bool relu, bool batchStatistics, float* dGamma, float* dBeta, const ImageOf<Value>& dx) {
  if (wide(x, dy, dx)) backwardBy<kWide<Value>>(x, dy, mean, inverseStd, gamma, beta, relu, batchStatistics, dGamma, dBeta, dx);
  else backwardBy<1>(x, dy, mean, inverseStd, gamma, beta, relu, batchStatistics, dGamma, dBeta, dx);
}

template <typename Value>
void fill(ImageKernels<Value>& table) {
  table.batchNormStatistics = batchNormStatistics<Value>;
  table.affine = affine<Value>;
  table.batchNormBackward = batchNormBackward<Value>;
}

}  // namespace

void LETHE_PER_ISA(addBatchNormKernels)(ImageKernels<float>& table) { fill(table); }
void LETHE_PER_ISA(addBatchNormBf16Kernels)(ImageKernels<Bf16>& table) { fill(table); }

}  // namespace lethe
