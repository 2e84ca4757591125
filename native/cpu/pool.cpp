// Max pooling in windows, and max and average pooling over whole images.
#include "lethe/train_kernels.h"
#include "simd.h"

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
  if constexpr (kLanes > 4)
    for (; c + 4 <= channels; c += 4) visit(Width<4>{}, c);
  for (; c < channels; ++c) visit(Width<1>{}, c);
}

// The order of torch: the first maximum wins, and NaN wins over numbers.
template <typename Value>
inline __attribute__((always_inline)) auto wins(Value value, Value best) {
  return (value > best) | ((value != value) & (best == best));
}

// in: first pixel of the window, first channel of the block.
template <int Lanes>
inline __attribute__((always_inline)) void poolWindow(const float* in, int64_t size, int64_t row, int64_t channels, float* out,
                                                      uint8_t* argmax) {
  using Int = typename IntVector<Lanes>::type;
  Vec<Lanes> best = load<Lanes>(in);
  Int chosen = {};
  for (int64_t ky = 0; ky < size; ++ky) {
    for (int64_t kx = 0; kx < size; ++kx) {
      const Vec<Lanes> value = load<Lanes>(in + ky * row + kx * channels);
      const Int better = wins(value, best);
      best = better ? value : best;
      chosen = better ? Int{} + static_cast<int32_t>(ky * size + kx) : chosen;
    }
  }
  store<Lanes>(out, best);
  *reinterpret_cast<typename IntVector<Lanes>::unalignedBytes*>(argmax) = __builtin_convertvector(chosen, typename IntVector<Lanes>::bytes);
}

void maxPool(const ImageView& x, int64_t size, const ImageView& y, uint8_t* argmax) {
  const int64_t row = x.rowStride(), channels = x.c;
  for (int64_t i = 0; i < y.n; ++i) {
    for (int64_t py = 0; py < y.h; ++py) {
      for (int64_t px = 0; px < y.w; ++px) {
        const float* in = x.pixel(i, py * size, px * size);
        float* out = y.pixel(i, py, px);
        eachBlock(channels, [&](auto lanes, int64_t c) { poolWindow<lanes.kWidth>(in + c, size, row, channels, out + c, argmax + c); });
        argmax += channels;
      }
    }
  }
}

template <int Lanes>
inline __attribute__((always_inline)) void spreadWindow(const float* grad, const uint8_t* argmax, int64_t size, int64_t row,
                                                        int64_t channels, float* out) {
  using Int = typename IntVector<Lanes>::type;
  const Vec<Lanes> value = load<Lanes>(grad);
  const Int chosen = __builtin_convertvector(
      typename IntVector<Lanes>::bytes(*reinterpret_cast<const typename IntVector<Lanes>::unalignedBytes*>(argmax)), Int);
  for (int64_t ky = 0; ky < size; ++ky)
    for (int64_t kx = 0; kx < size; ++kx)
      store<Lanes>(out + ky * row + kx * channels, chosen == static_cast<int32_t>(ky * size + kx) ? value : Vec<Lanes>{});
}

void maxPoolBackward(const ImageView& dy, int64_t size, const uint8_t* argmax, const ImageView& dx) {
  const int64_t row = dx.rowStride(), channels = dx.c;
  for (int64_t i = 0; i < dy.n; ++i) {
    for (int64_t py = 0; py < dy.h; ++py) {
      for (int64_t px = 0; px < dy.w; ++px) {
        const float* grad = dy.pixel(i, py, px);
        float* out = dx.pixel(i, py * size, px * size);
        eachBlock(channels, [&](auto lanes, int64_t c) { spreadWindow<lanes.kWidth>(grad + c, argmax + c, size, row, channels, out + c); });
        argmax += channels;
      }
    }
  }
}

void globalMaxPool(const ImageView& x, float* y, int32_t* argmax) {
  for (int64_t i = 0; i < x.n; ++i) {
    float* out = y + i * x.c;
    int32_t* chosen = argmax + i * x.c;
    const float* first = x.pixel(i, 0, 0);
    for (int64_t c = 0; c < x.c; ++c) out[c] = first[c], chosen[c] = 0;
    for (int64_t p = 1; p < x.h * x.w; ++p) {
      const float* in = x.pixel(i, p / x.w, p % x.w);
      for (int64_t c = 0; c < x.c; ++c)
        if (wins(in[c], out[c])) out[c] = in[c], chosen[c] = static_cast<int32_t>(p);
    }
  }
}

void globalMaxPoolBackward(const float* dy, const int32_t* argmax, const ImageView& dx) {
  for (int64_t i = 0; i < dx.n; ++i)
    for (int64_t p = 0; p < dx.h * dx.w; ++p) {
      float* out = dx.pixel(i, p / dx.w, p % dx.w);
      for (int64_t c = 0; c < dx.c; ++c) out[c] = argmax[i * dx.c + c] == p ? dy[i * dx.c + c] : 0;
    }
}

void globalAveragePool(const ImageView& x, float* y) {
  const float share = 1 / static_cast<float>(x.h * x.w);
  for (int64_t i = 0; i < x.n; ++i) {
    float* out = y + i * x.c;
    for (int64_t c = 0; c < x.c; ++c) out[c] = 0;
    for (int64_t p = 0; p < x.h * x.w; ++p) {
      const float* in = x.pixel(i, p / x.w, p % x.w);
      for (int64_t c = 0; c < x.c; ++c) out[c] += in[c];
    }
    for (int64_t c = 0; c < x.c; ++c) out[c] *= share;
  }
}

void globalAveragePoolBackward(const float* dy, const ImageView& dx) {
  const float share = 1 / static_cast<float>(dx.h * dx.w);
  for (int64_t i = 0; i < dx.n; ++i)
    for (int64_t p = 0; p < dx.h * dx.w; ++p) {
      float* out = dx.pixel(i, p / dx.w, p % dx.w);
      for (int64_t c = 0; c < dx.c; ++c) out[c] = dy[i * dx.c + c] * share;
    }
}

}  // namespace

void LETHE_PER_ISA(addPoolKernels)(TrainKernels& table) {
  table.maxPool = maxPool;
  table.maxPoolBackward = maxPoolBackward;
  table.globalMaxPool = globalMaxPool;
  table.globalMaxPoolBackward = globalMaxPoolBackward;
  table.globalAveragePool = globalAveragePool;
  table.globalAveragePoolBackward = globalAveragePoolBackward;
}

}  // namespace lethe
