// ReLU, addition and the gather of training images. Rows of the interior are contiguous: a thread takes packs of one row.
#include "cuda/train/packs.h"

namespace lethe {
namespace {

// How blocks of kThreads cover rows: `width` threads on a row.
struct Rows {
  int width = 1;
};

// ---------------------------------------------------------------- kernels

// Calls body(image, y, k) for the packs of V values at k of the thread's row of the interior.
template <int V, typename Value, typename Body>
__device__ __forceinline__ void eachPack(const ImageOf<Value>& view, const Rows& rows, Body body) {
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / rows.width) + thread / rows.width;
  if (row >= view.n * view.h) return;
  const int64_t image = row / view.h, y = row % view.h, values = view.w * view.c;
  for (int64_t k = thread % rows.width * V; k < values; k += int64_t{rows.width} * V) body(image, y, k);
}

struct Relu {
  __device__ __forceinline__ float operator()(float x, float) const { return x < 0 ? 0 : x; }  // NaN stays NaN
};
struct ReluBackward {
  __device__ __forceinline__ float operator()(float y, float dy) const { return y <= 0 ? 0 : dy; }
};
struct Add {
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};
struct AddRelu {
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b < 0 ? 0 : a + b; }
};

template <int V, typename Value, typename Op>
__global__ void __launch_bounds__(kThreads) combine(ImageOf<Value> a, ImageOf<Value> b, ImageOf<Value> to, Rows rows, Op op) {
  eachPack<V>(to, rows, [&](int64_t image, int64_t y, int64_t k) {
    float left[V], right[V];
    load<V>(a.pixel(image, y, 0) + k, left);
    load<V>(b.pixel(image, y, 0) + k, right);
    for (int v = 0; v < V; ++v) left[v] = op(left[v], right[v]);
    store<V>(to.pixel(image, y, 0) + k, left);
  });
}

template <typename Value>
__global__ void __launch_bounds__(kThreads)
    gather(const uint8_t* pixels, const int32_t* index, const ImagePlacement* placements, const float* mean, const float* std, ImageOf<Value> to, Rows rows) {
  eachPack<1>(to, rows, [&](int64_t image, int64_t y, int64_t k) {
    const ImagePlacement place = placements ? placements[image] : ImagePlacement{};
    const int64_t channel = k % to.c, px = k / to.c;
    const int64_t row = y + place.down, column = (place.flip ? to.w - 1 - px : px) + place.right;
    float value = 0;
    if (row >= 0 && row < to.h && column >= 0 && column < to.w) {
      const float pixel = pixels[((index[image] * to.h + row) * to.w + column) * to.c + channel];
      value = (pixel * (1 / 255.0f) - mean[channel]) / std[channel];
    }
    to.pixel(image, y, 0)[k] = value;
  });
}

// ---------------------------------------------------------------- launchers

template <int V, typename Value>
Rows rowsOf(const ImageOf<Value>& view) {
  const int64_t packs = view.w * view.c / V;
  Rows rows;
  while (rows.width < kThreads && rows.width < packs) rows.width *= 2;
  return rows;
}
template <typename Value>
unsigned blocksOf(const ImageOf<Value>& view, const Rows& rows) {
  return static_cast<unsigned>(ceilDivide(view.n * view.h, kThreads / rows.width));
}

template <typename Value, typename Op>
void combineAll(const ImageOf<Value>& a, const ImageOf<Value>& b, const ImageOf<Value>& y, Op op) {
  constexpr int kPack = kWide<Value>;
  if (wide(y, a, b)) {
    const Rows rows = rowsOf<kPack>(y);
    launch(blocksOf(y, rows), kThreads, 0, combine<kPack, Value, Op>, a, b, y, rows, op);
  } else {
    const Rows rows = rowsOf<1>(y);
    launch(blocksOf(y, rows), kThreads, 0, combine<1, Value, Op>, a, b, y, rows, op);
  }
}

template <typename Value>
void relu(const ImageOf<Value>& x, const ImageOf<Value>& y) {
  combineAll(x, x, y, Relu{});
}
template <typename Value>
void reluBackward(const ImageOf<Value>& y, const ImageOf<Value>& dy, const ImageOf<Value>& dx) {
  combineAll(y, dy, dx, ReluBackward{});
}
template <typename Value>
void add(const ImageOf<Value>& a, const ImageOf<Value>& b, const ImageOf<Value>& y) {
  combineAll(a, b, y, Add{});
}
template <typename Value>
void addRelu(const ImageOf<Value>& a, const ImageOf<Value>& b, const ImageOf<Value>& y) {
  combineAll(a, b, y, AddRelu{});
}

template <typename Value>
void gatherImages(const uint8_t* pixels, const int32_t* index, const ImagePlacement* placements, const float* mean, const float* std, const ImageOf<Value>& y) {
  const Rows rows = rowsOf<1>(y);
  launch(blocksOf(y, rows), kThreads, 0, gather<Value>, pixels, index, placements, mean, std, y, rows);
}

template <typename Value>
void fill(ImageKernels<Value>& table) {
  table.relu = relu<Value>;
  table.reluBackward = reluBackward<Value>;
  table.add = add<Value>;
  table.addRelu = addRelu<Value>;
  table.gatherImages = gatherImages<Value>;
}

}  // namespace

void LETHE_PER_ISA(addPointwiseKernels)(ImageKernels<float>& table) { fill(table); }
void LETHE_PER_ISA(addPointwiseBf16Kernels)(ImageKernels<Bf16>& table) { fill(table); }

}  // namespace lethe
