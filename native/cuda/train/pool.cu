// Max pooling in windows, and max and average pooling over whole images.
#include "cuda/train/packs.h"

namespace lethe {
namespace {

// ---------------------------------------------------------------- kernels

// The order of torch: the first maximum wins, and NaN wins over numbers.
__device__ __forceinline__ bool wins(float value, float best) { return value > best || (value != value && best == best); }

// The rows or columns [first, end) of window `at` that lie in the image; start: image position of its row 0.
struct Extent {
  int64_t start, first, end;
  __device__ __forceinline__ Extent(const PoolShape& shape, int64_t at, int64_t side)
      : start(at * shape.stride - shape.pad), first(start < 0 ? -start : 0), end(start + shape.size > side ? side - start : shape.size) {}
};

template <int V, typename Value>
__global__ void __launch_bounds__(kThreads) poolWindows(PoolShape shape, ImageOf<Value> x, ImageOf<Value> y, Cover cover, uint8_t* argmax) {
  const Place place = placeOf<V>(cover, y.c);
  if (!place.active) return;
  eachPixel(y, cover, place, [&](int64_t image, int64_t py, int64_t px) {
    const Extent rows(shape, py, x.h), columns(shape, px, x.w);
    float best[V];
    uint8_t chosen[V];
    load<V>(x.pixel(image, rows.start + rows.first, columns.start + columns.first) + place.channel, best);
    for (int v = 0; v < V; ++v) chosen[v] = static_cast<uint8_t>(rows.first * shape.size + columns.first);
    for (int64_t ky = rows.first; ky < rows.end; ++ky) {
      for (int64_t kx = columns.first; kx < columns.end; ++kx) {
        float value[V];
        load<V>(x.pixel(image, rows.start + ky, columns.start + kx) + place.channel, value);
        for (int v = 0; v < V; ++v) {
          const bool better = wins(value[v], best[v]);
          best[v] = better ? value[v] : best[v];
          chosen[v] = better ? static_cast<uint8_t>(ky * shape.size + kx) : chosen[v];
        }
      }
    }
    store<V>(y.pixel(image, py, px) + place.channel, best);
    storeBytes<V>(argmax + ((image * y.h + py) * y.w + px) * y.c + place.channel, chosen);
  });
}

// The windows [first, end) of `count` that contain position `at` - pad of a side.
struct Windows {
  int64_t at, first, end;
  __device__ __forceinline__ Windows(const PoolShape& shape, int64_t position, int64_t count)
      : at(position + shape.pad),
        first(at < shape.size ? 0 : (at - shape.size) / shape.stride + 1),
        end(at / shape.stride + 1 < count ? at / shape.stride + 1 : count) {}
};

// Each pixel of dx adds up, in order, the gradients of the windows that chose it.
template <int V, typename Value>
__global__ void __launch_bounds__(kThreads) poolWindowsBackward(PoolShape shape, ImageOf<Value> dy, const uint8_t* argmax, ImageOf<Value> dx, Cover cover) {
  const Place place = placeOf<V>(cover, dx.c);
  if (!place.active) return;
  eachPixel(dx, cover, place, [&](int64_t image, int64_t py, int64_t px) {
    const Windows rows(shape, py, dy.h), columns(shape, px, dy.w);
    float sum[V] = {};
    for (int64_t y = rows.first; y < rows.end; ++y) {
      for (int64_t x = columns.first; x < columns.end; ++x) {
        float grad[V];
        uint8_t chosen[V];
        load<V>(dy.pixel(image, y, x) + place.channel, grad);
        loadBytes<V>(argmax + ((image * dy.h + y) * dy.w + x) * dy.c + place.channel, chosen);
        const int64_t here = (rows.at - y * shape.stride) * shape.size + columns.at - x * shape.stride;
        for (int v = 0; v < V; ++v) sum[v] += chosen[v] == here ? grad[v] : 0;
      }
    }
    store<V>(dx.pixel(image, py, px) + place.channel, sum);
  });
}

// A thread for each image and channel: neighbours read neighbouring channels.
template <typename Value>
__global__ void __launch_bounds__(kThreads) maximumOfImage(ImageOf<Value> x, float* y, int32_t* argmax) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= x.n * x.c) return;
  const int64_t image = at / x.c, channel = at % x.c;
  float best = x.pixel(image, 0, 0)[channel];
  int32_t chosen = 0;
  for (int64_t py = 0; py < x.h; ++py) {
    const Value* row = x.pixel(image, py, 0) + channel;
    for (int64_t px = 0; px < x.w; ++px) {
      const float value = row[px * x.c];
      if (wins(value, best)) best = value, chosen = static_cast<int32_t>(py * x.w + px);
    }
  }
  y[at] = best;
  argmax[at] = chosen;
}

template <typename Value>
__global__ void __launch_bounds__(kThreads) averageOfImage(ImageOf<Value> x, float* y) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= x.n * x.c) return;
  const int64_t image = at / x.c, channel = at % x.c;
  float sum = 0;
  for (int64_t py = 0; py < x.h; ++py) {
    const Value* row = x.pixel(image, py, 0) + channel;
    for (int64_t px = 0; px < x.w; ++px) sum += static_cast<float>(row[px * x.c]);
  }
  y[at] = sum * (1 / static_cast<float>(x.h * x.w));
}

// argmax: null for the average, whose gradient is dy * share everywhere.
template <int V, typename Value>
__global__ void __launch_bounds__(kThreads) spreadOverImage(const float* dy, const int32_t* argmax, float share, ImageOf<Value> dx, Cover cover) {
  const Place place = placeOf<V>(cover, dx.c);
  if (!place.active) return;
  eachPixel(dx, cover, place, [&](int64_t image, int64_t py, int64_t px) {
    const int64_t from = image * dx.c + place.channel, here = py * dx.w + px;
    float value[V];
    for (int v = 0; v < V; ++v) value[v] = argmax && argmax[from + v] != here ? 0 : dy[from + v] * share;
    store<V>(dx.pixel(image, py, px) + place.channel, value);
  });
}

// ---------------------------------------------------------------- launchers

constexpr int64_t kPixelsPerThread = 2, kAnyBlocks = 0x7FFFFFFF;

template <int V, typename Value>
void maxPoolBy(const PoolShape& shape, const ImageOf<Value>& x, const ImageOf<Value>& y, uint8_t* argmax) {
  const Cover cover = coverOf<V>(y, kPixelsPerThread, kAnyBlocks);
  launch(gridOf<V>(y, cover), kThreads, 0, poolWindows<V, Value>, shape, x, y, cover, argmax);
}
template <typename Value>
void maxPool(const PoolShape& shape, const ImageOf<Value>& x, const ImageOf<Value>& y, uint8_t* argmax) {
  if (wide(x, y) && alignedTo(argmax, kWide<Value>)) maxPoolBy<kWide<Value>>(shape, x, y, argmax);
  else maxPoolBy<1>(shape, x, y, argmax);
}

template <int V, typename Value>
void maxPoolBackwardBy(const PoolShape& shape, const ImageOf<Value>& dy, const uint8_t* argmax, const ImageOf<Value>& dx) {
  const Cover cover = coverOf<V>(dx, kPixelsPerThread, kAnyBlocks);
  launch(gridOf<V>(dx, cover), kThreads, 0, poolWindowsBackward<V, Value>, shape, dy, argmax, dx, cover);
}
template <typename Value>
void maxPoolBackward(const PoolShape& shape, const ImageOf<Value>& dy, const uint8_t* argmax, const ImageOf<Value>& dx) {
  if (wide(dx, dy) && alignedTo(argmax, kWide<Value>)) maxPoolBackwardBy<kWide<Value>>(shape, dy, argmax, dx);
  else maxPoolBackwardBy<1>(shape, dy, argmax, dx);
}

template <typename Value>
unsigned vectorBlocks(const ImageOf<Value>& x) {
  return static_cast<unsigned>(ceilDivide(x.n * x.c, kThreads));
}

template <typename Value>
void globalMaxPool(const ImageOf<Value>& x, float* y, int32_t* argmax) {
  launch(vectorBlocks(x), kThreads, 0, maximumOfImage<Value>, x, y, argmax);
}
template <typename Value>
void globalAveragePool(const ImageOf<Value>& x, float* y) {
  launch(vectorBlocks(x), kThreads, 0, averageOfImage<Value>, x, y);
}

template <typename Value>
void spread(const float* dy, const int32_t* argmax, float share, const ImageOf<Value>& dx) {
  constexpr int kPack = kWide<Value>;
  if (wide(dx)) {
    const Cover cover = coverOf<kPack>(dx, kPixelsPerThread, kAnyBlocks);
    launch(gridOf<kPack>(dx, cover), kThreads, 0, spreadOverImage<kPack, Value>, dy, argmax, share, dx, cover);
  } else {
    const Cover cover = coverOf<1>(dx, kPixelsPerThread, kAnyBlocks);
    launch(gridOf<1>(dx, cover), kThreads, 0, spreadOverImage<1, Value>, dy, argmax, share, dx, cover);
  }
}
template <typename Value>
void globalMaxPoolBackward(const float* dy, const int32_t* argmax, const ImageOf<Value>& dx) {
  spread(dy, argmax, 1.0f, dx);
}
template <typename Value>
void globalAveragePoolBackward(const float* dy, const ImageOf<Value>& dx) {
  spread(dy, static_cast<const int32_t*>(nullptr), 1 / static_cast<float>(dx.h * dx.w), dx);
}

template <typename Value>
void fill(ImageKernels<Value>& table) {
  table.maxPool = maxPool<Value>;
  table.maxPoolBackward = maxPoolBackward<Value>;
  table.globalMaxPool = globalMaxPool<Value>;
  table.globalMaxPoolBackward = globalMaxPoolBackward<Value>;
  table.globalAveragePool = globalAveragePool<Value>;
  table.globalAveragePoolBackward = globalAveragePoolBackward<Value>;
}

}  // namespace

void LETHE_PER_ISA(addPoolKernels)(ImageKernels<float>& table) { fill(table); }
void LETHE_PER_ISA(addPoolBf16Kernels)(ImageKernels<Bf16>& table) { fill(table); }

}  // namespace lethe
