// Max pooling in windows, and max and average pooling over whole images.
#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

template <int Lanes>
struct IntVector {
  typedef int32_t type __attribute__((vector_size(Lanes * 4)));
  typedef uint8_t bytes __attribute__((vector_size(Lanes)));
  typedef uint8_t unalignedBytes __attribute__((vector_size(Lanes), aligned(1), may_alias));
};

template <int Lanes>
struct Width {
  static constexpr int kWidth = Lanes;
};

// Calls visit(Width, c) for blocks of channels that cover [0, channels).
template <typename Visit>
inline __attribute__((always_inline)) void eachBlock(int64_t channels, Visit visit) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) visit(Width<kLanes>{}, c);
  if constexpr (kLanes > 8)
    for (; c + 8 <= channels; c += 8) visit(Width<8>{}, c);
  if constexpr (kLanes > 4)
    for (; c + 4 <= channels; c += 4) visit(Width<4>{}, c);
  for (; c < channels; ++c) visit(Width<1>{}, c);
}

// The order of torch: the first maximum wins, and NaN wins over numbers.
template <typename Value>
inline __attribute__((always_inline)) auto wins(Value value, Value best) {
  return (value > best) | ((value != value) & (best == best));
}

template <int Lanes>
inline __attribute__((always_inline)) typename IntVector<Lanes>::type loadBytes(const uint8_t* from) {
  typename IntVector<Lanes>::bytes bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  return __builtin_convertvector(bytes, typename IntVector<Lanes>::type);
}

// The rows or columns [first, end) of a window that lie in the image.
struct Extent {
  int64_t start, first, end;  // start: image position of the window's row 0
  Extent(const PoolShape& shape, int64_t at, int64_t side)
      : start(at * shape.stride - shape.pad), first(start < 0 ? -start : 0), end(start + shape.size > side ? side - start : shape.size) {}
};

// in: image pixel (0, 0), first channel of the block.
template <int Lanes, typename Value>
inline __attribute__((always_inline)) void poolWindow(const Value* in, int64_t size, const Extent& ys, const Extent& xs, int64_t row, int64_t channels,
                                                      Value* out, uint8_t* argmax) {
  using Int = typename IntVector<Lanes>::type;
  Vec<Lanes> best = load<Lanes>(in + (ys.start + ys.first) * row + (xs.start + xs.first) * channels);
  Int chosen = Int{} + static_cast<int32_t>(ys.first * size + xs.first);
  for (int64_t ky = ys.first; ky < ys.end; ++ky) {
    for (int64_t kx = xs.first; kx < xs.end; ++kx) {
      const Vec<Lanes> value = load<Lanes>(in + (ys.start + ky) * row + (xs.start + kx) * channels);
      const Int better = wins(value, best);
      best = better ? value : best;
      chosen = better ? Int{} + static_cast<int32_t>(ky * size + kx) : chosen;
    }
  }
  store<Lanes>(out, best);
  *reinterpret_cast<typename IntVector<Lanes>::unalignedBytes*>(argmax) = __builtin_convertvector(chosen, typename IntVector<Lanes>::bytes);
}

template <typename Value>
void maxPool(const PoolShape& shape, const ImageOf<Value>& x, const ImageOf<Value>& y, uint8_t* argmax) {
  const int64_t row = x.rowStride(), channels = x.c;
  for (int64_t i = 0; i < y.n; ++i) {
    const Value* in = x.pixel(i, 0, 0);
    for (int64_t py = 0; py < y.h; ++py) {
      const Extent ys(shape, py, x.h);
      for (int64_t px = 0; px < y.w; ++px) {
        const Extent xs(shape, px, x.w);
        Value* out = y.pixel(i, py, px);
        eachBlock(channels, [&](auto lanes, int64_t c) { poolWindow<lanes.kWidth>(in + c, shape.size, ys, xs, row, channels, out + c, argmax + c); });
        argmax += channels;
      }
    }
  }
}

// The windows [first, end) of `count` that contain position `at` of a side.
struct Windows {
  int64_t at, first, end;
  Windows(const PoolShape& shape, int64_t position, int64_t count)
      : at(position + shape.pad),
        first(at < shape.size ? 0 : (at - shape.size) / shape.stride + 1),
        end(at / shape.stride + 1 < count ? at / shape.stride + 1 : count) {}
};

// The gradient of one pixel: the sum over its windows, in order, of those that chose it. grad: output pixel (0, 0) of the image, argmax the same.
template <int Lanes, typename Value>
inline __attribute__((always_inline)) void gatherWindows(const PoolShape& shape, const Windows& ys, const Windows& xs, const Value* grad, int64_t row,
                                                         const uint8_t* argmax, int64_t columns, int64_t channels, Value* out) {
  using Int = typename IntVector<Lanes>::type;
  Vec<Lanes> sum = {};
  for (int64_t y = ys.first; y < ys.end; ++y) {
    for (int64_t x = xs.first; x < xs.end; ++x) {
      const Int chosen = loadBytes<Lanes>(argmax + (y * columns + x) * channels);
      const int64_t here = (ys.at - y * shape.stride) * shape.size + xs.at - x * shape.stride;
      sum += chosen == static_cast<int32_t>(here) ? load<Lanes>(grad + y * row + x * channels) : Vec<Lanes>{};
    }
  }
  store<Lanes>(out, sum);
}

// Windows side by side: each writes its own pixels, two to four times faster than pixels that look for their windows.
template <int Lanes, typename Value>
inline __attribute__((always_inline)) void spreadWindow(const Value* grad, const uint8_t* argmax, int64_t size, int64_t row, int64_t channels, Value* out) {
  using Int = typename IntVector<Lanes>::type;
  const Vec<Lanes> value = load<Lanes>(grad);
  const Int chosen = loadBytes<Lanes>(argmax);
  for (int64_t ky = 0; ky < size; ++ky)
    for (int64_t kx = 0; kx < size; ++kx) store<Lanes>(out + ky * row + kx * channels, chosen == static_cast<int32_t>(ky * size + kx) ? value : Vec<Lanes>{});
}

template <typename Value>
void spreadWindows(int64_t size, const ImageOf<Value>& dy, const uint8_t* argmax, const ImageOf<Value>& dx) {
  const int64_t row = dx.rowStride(), channels = dx.c;
  for (int64_t i = 0; i < dy.n; ++i) {
    for (int64_t py = 0; py < dy.h; ++py) {
      for (int64_t px = 0; px < dy.w; ++px) {
        const Value* grad = dy.pixel(i, py, px);
        Value* out = dx.pixel(i, py * size, px * size);
        eachBlock(channels, [&](auto lanes, int64_t c) { spreadWindow<lanes.kWidth>(grad + c, argmax + c, size, row, channels, out + c); });
        argmax += channels;
      }
    }
  }
}

template <typename Value>
void maxPoolBackward(const PoolShape& shape, const ImageOf<Value>& dy, const uint8_t* argmax, const ImageOf<Value>& dx) {
  if (shape.pad == 0 && shape.stride == shape.size && dy.h * shape.size == dx.h && dy.w * shape.size == dx.w) {
    return spreadWindows(shape.size, dy, argmax, dx);
  }
  const int64_t row = dy.rowStride(), channels = dx.c;
  for (int64_t i = 0; i < dx.n; ++i, argmax += dy.h * dy.w * channels) {
    const Value* grad = dy.pixel(i, 0, 0);
    for (int64_t py = 0; py < dx.h; ++py) {
      const Windows ys(shape, py, dy.h);
      for (int64_t px = 0; px < dx.w; ++px) {
        const Windows xs(shape, px, dy.w);
        Value* out = dx.pixel(i, py, px);
        eachBlock(channels, [&](auto lanes, int64_t c) { gatherWindows<lanes.kWidth>(shape, ys, xs, grad + c, row, argmax + c, dy.w, channels, out + c); });
      }
    }
  }
}

template <typename Value>
void globalMaxPool(const ImageOf<Value>& x, float* y, int32_t* argmax) {
  for (int64_t i = 0; i < x.n; ++i) {
    float* out = y + i * x.c;
    int32_t* chosen = argmax + i * x.c;
    const Value* first = x.pixel(i, 0, 0);
    for (int64_t c = 0; c < x.c; ++c) out[c] = first[c], chosen[c] = 0;
    for (int64_t p = 1; p < x.h * x.w; ++p) {
      const Value* in = x.pixel(i, p / x.w, p % x.w);
      for (int64_t c = 0; c < x.c; ++c)
        if (wins<float>(in[c], out[c])) out[c] = in[c], chosen[c] = static_cast<int32_t>(p);
    }
  }
}

template <typename Value>
void globalMaxPoolBackward(const float* dy, const int32_t* argmax, const ImageOf<Value>& dx) {
  for (int64_t i = 0; i < dx.n; ++i)
    for (int64_t p = 0; p < dx.h * dx.w; ++p) {
      Value* out = dx.pixel(i, p / dx.w, p % dx.w);
      for (int64_t c = 0; c < dx.c; ++c) out[c] = argmax[i * dx.c + c] == p ? dy[i * dx.c + c] : 0;
    }
}

template <typename Value>
void globalAveragePool(const ImageOf<Value>& x, float* y) {
  const float share = 1 / static_cast<float>(x.h * x.w);
  for (int64_t i = 0; i < x.n; ++i) {
    float* out = y + i * x.c;
    for (int64_t c = 0; c < x.c; ++c) out[c] = 0;
    for (int64_t p = 0; p < x.h * x.w; ++p) {
      const Value* in = x.pixel(i, p / x.w, p % x.w);
      for (int64_t c = 0; c < x.c; ++c) out[c] += in[c];
    }
    for (int64_t c = 0; c < x.c; ++c) out[c] *= share;
  }
}

template <typename Value>
void globalAveragePoolBackward(const float* dy, const ImageOf<Value>& dx) {
  const float share = 1 / static_cast<float>(dx.h * dx.w);
  for (int64_t i = 0; i < dx.n; ++i)
    for (int64_t p = 0; p < dx.h * dx.w; ++p) {
      Value* out = dx.pixel(i, p / dx.w, p % dx.w);
      for (int64_t c = 0; c < dx.c; ++c) out[c] = dy[i * dx.c + c] * share;
    }
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
