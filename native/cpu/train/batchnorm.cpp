// BatchNorm statistics, its affine map with ReLU, and its backward pass. All are bound by memory: each pass reads every value once.
// Sums run in fp32 over a band of at most 1024 pixels and in double over the bands, always in the same order.
#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

template <int Lanes, int Vectors>
struct Block {  // channels [channel, channel + kWidth)
  static constexpr int kWidth = Lanes * Vectors;
  static constexpr int kUnroll = 4 / Vectors;  // pixels at a time: enough independent sums to hide the latency
  using Vector = Vec<Lanes>;
  int64_t channel;
};

// Calls visit(Block) for blocks of channels that cover [0, channels), wide ones first.
template <typename Visit>
inline __attribute__((always_inline)) void eachBlock(int64_t channels, Visit visit) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) visit(Block<kLanes, 4>{c});
  for (; c + 2 * kLanes <= channels; c += 2 * kLanes) visit(Block<kLanes, 2>{c});
  for (; c + kLanes <= channels; c += kLanes) visit(Block<kLanes, 1>{c});
  if constexpr (kLanes > 8)
    for (; c + 8 <= channels; c += 8) visit(Block<8, 1>{c});
  if constexpr (kLanes > 4)
    for (; c + 4 <= channels; c += 4) visit(Block<4, 1>{c});
  for (; c < channels; ++c) visit(Block<1, 1>{c});
}

template <int Lanes, int Vectors>
inline __attribute__((always_inline)) void loadAll(const float* from, Vec<Lanes> (&to)[Vectors]) {
  for (int v = 0; v < Vectors; ++v) to[v] = load<Lanes>(from + v * Lanes);
}

constexpr int64_t kBandPixels = 1024;

template <typename Value>
int64_t bandRows(const ImageOf<Value>& x) {
  return x.w >= kBandPixels ? 1 : kBandPixels / x.w < x.h ? kBandPixels / x.w : x.h;
}

// Two sums over the pixels of rows [top, top + rows) of an image: rowTerm(row) returns a function that adds the terms of vector v of the
// pixel at `offset` floats from the row's first. The results are added to first and second (kWidth).
template <int Lanes, int Vectors, typename Value, typename RowTerm>
inline __attribute__((always_inline)) void sumBand(const Block<Lanes, Vectors>&, const ImageOf<Value>& x, int64_t top, int64_t rows, double* first,
                                                   double* second, RowTerm rowTerm) {
  constexpr int kUnroll = Block<Lanes, Vectors>::kUnroll;
  Vec<Lanes> a[kUnroll][Vectors] = {}, b[kUnroll][Vectors] = {};
  for (int64_t row = top; row < top + rows; ++row) {
    const auto term = rowTerm(row);
    int64_t p = 0;
    for (; p + kUnroll <= x.w; p += kUnroll) {
#pragma GCC unroll 4
      for (int u = 0; u < kUnroll; ++u) {
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) term((p + u) * x.c + v * Lanes, v, a[u][v], b[u][v]);
      }
    }
    for (; p < x.w; ++p) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) term(p * x.c + v * Lanes, v, a[0][v], b[0][v]);
    }
  }
  for (int u = 0; u < kUnroll; ++u) {
    for (int v = 0; v < Vectors; ++v) {
      for (int lane = 0; lane < Lanes; ++lane) {
        first[v * Lanes + lane] += a[u][v][lane];
        second[v * Lanes + lane] += b[u][v][lane];
      }
    }
  }
}

// Sums around the first band's mean in one pass. If that mean is d standard deviations away from the mean of all, cancellation costs a
// factor 1 + d^2; but the first band is itself part of the sample, so d^2 is at most the number of bands.
template <int Lanes, int Vectors, typename Value>
void statistics(const Block<Lanes, Vectors>& block, const ImageOf<Value>& x, float* mean, float* variance) {
  const int64_t rows = bandRows(x), channel = block.channel;
  double start[block.kWidth] = {}, sum[block.kWidth] = {}, square[block.kWidth] = {}, ignored[block.kWidth] = {};
  sumBand(block, x, 0, rows, start, ignored, [&](int64_t row) {
    const Value* in = x.pixel(0, row, 0) + channel;
    return [=](int64_t offset, int, Vec<Lanes>& a, Vec<Lanes>&) { a += load<Lanes>(in + offset); };
  });
  float shift[block.kWidth];
  for (int k = 0; k < block.kWidth; ++k) shift[k] = static_cast<float>(start[k] / static_cast<double>(rows * x.w));
  Vec<Lanes> shifts[Vectors];
  loadAll<Lanes, Vectors>(shift, shifts);
  for (int64_t i = 0; i < x.n; ++i) {
    for (int64_t top = 0; top < x.h; top += rows) {
      sumBand(block, x, top, top + rows < x.h ? rows : x.h - top, sum, square, [&](int64_t row) {
        const Value* in = x.pixel(i, row, 0) + channel;
        return [in, &shifts](int64_t offset, int v, Vec<Lanes>& a, Vec<Lanes>& b) {
          const Vec<Lanes> d = load<Lanes>(in + offset) - shifts[v];
          a += d;
          b += d * d;
        };
      });
    }
  }
  const double count = static_cast<double>(x.n * x.h * x.w);
  for (int k = 0; k < block.kWidth; ++k) {
    const double offset = sum[k] / count, spread = square[k] / count - offset * offset;
    mean[channel + k] = static_cast<float>(shift[k] + offset);
    variance[channel + k] = static_cast<float>(spread < 0 ? 0 : spread);
  }
}

template <typename Value>
void batchNormStatistics(const ImageOf<Value>& x, float* mean, float* variance) {
  eachBlock(x.c, [&](const auto& block) { statistics(block, x, mean, variance); });
}

// Calls body(row offset, v) for every vector of the pixels of a row.
template <int Lanes, int Vectors, typename Value, typename Body>
inline __attribute__((always_inline)) void eachVector(const Block<Lanes, Vectors>&, const ImageOf<Value>& x, Body body) {
#pragma GCC unroll 2
  for (int64_t p = 0; p < x.w; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) body(p * x.c + v * Lanes, v);
  }
}

template <bool Relu, int Lanes, int Vectors, typename Value>
void affineBlock(const Block<Lanes, Vectors>& block, const ImageOf<Value>& x, const float* scale, const float* shift, const ImageOf<Value>& y) {
  Vec<Lanes> scales[Vectors], shifts[Vectors];
  loadAll<Lanes, Vectors>(scale + block.channel, scales);
  loadAll<Lanes, Vectors>(shift + block.channel, shifts);
  for (int64_t i = 0; i < x.n; ++i) {
    for (int64_t row = 0; row < x.h; ++row) {
      const Value* in = x.pixel(i, row, 0) + block.channel;
      Value* out = y.pixel(i, row, 0) + block.channel;
      eachVector(block, x, [&](int64_t offset, int v) {
        Vec<Lanes> value = load<Lanes>(in + offset) * scales[v] + shifts[v];
        if constexpr (Relu) value = value < 0 ? Vec<Lanes>{} : value;  // NaN stays NaN
        store<Lanes>(out + offset, value);
      });
    }
  }
}

template <typename Value>
void affine(const ImageOf<Value>& x, const float* scale, const float* shift, bool relu, const ImageOf<Value>& y) {
  eachBlock(x.c, [&](const auto& block) {
    if (relu) affineBlock<true>(block, x, scale, shift, y);
    else affineBlock<false>(block, x, scale, shift, y);
  });
}

// z = scale * x + shift before the ReLU; dx = scale * dz + (x - mean) * slope + offset.
template <int Lanes, int Vectors>
struct Gradient {
  Vec<Lanes> scale[Vectors], shift[Vectors], mean[Vectors], slope[Vectors], offset[Vectors];

  template <bool Relu>
  inline __attribute__((always_inline)) Vec<Lanes> masked(Vec<Lanes> x, Vec<Lanes> dy, int v) const {
    if constexpr (Relu) return x * scale[v] + shift[v] <= 0 ? Vec<Lanes>{} : dy;
    return dy;
  }
};

template <typename Value>
struct BatchNorm {
  const ImageOf<Value>&x, &dy;
  const float *mean, *inverseStd, *gamma, *beta;
  bool batchStatistics;
  float *dGamma, *dBeta;
  const ImageOf<Value>& dx;
};

// Fills what the first pass leaves open and the channels' own gradients.
template <int Lanes, int Vectors, typename Value>
void finishSums(const Block<Lanes, Vectors>& block, const BatchNorm<Value>& job, const double* sum, const double* product, Gradient<Lanes, Vectors>& g) {
  const double count = static_cast<double>(job.x.n * job.x.h * job.x.w);
  for (int k = 0; k < block.kWidth; ++k) {
    const int64_t c = block.channel + k;
    const double inverse = job.inverseStd[c], scale = job.gamma[c] * inverse;
    job.dBeta[c] = static_cast<float>(sum[k]);
    job.dGamma[c] = static_cast<float>(product[k] * inverse);
    const bool batch = job.batchStatistics;
    g.slope[k / Lanes][k % Lanes] = batch ? static_cast<float>(-scale * inverse * inverse * product[k] / count) : 0;
    g.offset[k / Lanes][k % Lanes] = batch ? static_cast<float>(-scale * sum[k] / count) : 0;
  }
}

template <bool Relu, int Lanes, int Vectors, typename Value>
void backwardBlock(const Block<Lanes, Vectors>& block, const BatchNorm<Value>& job) {
  const ImageOf<Value>&x = job.x, &dy = job.dy;
  const int64_t rows = bandRows(x), channel = block.channel;
  Gradient<Lanes, Vectors> g;
  for (int k = 0; k < block.kWidth; ++k) {
    const int64_t c = channel + k;
    g.scale[k / Lanes][k % Lanes] = job.gamma[c] * job.inverseStd[c];
    g.shift[k / Lanes][k % Lanes] = job.beta[c] - job.gamma[c] * job.inverseStd[c] * job.mean[c];
    g.mean[k / Lanes][k % Lanes] = job.mean[c];
  }
  double sum[block.kWidth] = {}, product[block.kWidth] = {};
  for (int64_t i = 0; i < x.n; ++i) {
    for (int64_t top = 0; top < x.h; top += rows) {
      sumBand(block, x, top, top + rows < x.h ? rows : x.h - top, sum, product, [&](int64_t row) {
        const Value *in = x.pixel(i, row, 0) + channel, *grad = dy.pixel(i, row, 0) + channel;
        return [in, grad, &g](int64_t offset, int v, Vec<Lanes>& a, Vec<Lanes>& b) {
          const Vec<Lanes> value = load<Lanes>(in + offset), dz = g.template masked<Relu>(value, load<Lanes>(grad + offset), v);
          a += dz;
          b += dz * (value - g.mean[v]);
        };
      });
    }
  }
  finishSums(block, job, sum, product, g);
  for (int64_t i = 0; i < x.n; ++i) {
    for (int64_t row = 0; row < x.h; ++row) {
      const Value *in = x.pixel(i, row, 0) + channel, *grad = dy.pixel(i, row, 0) + channel;
      Value* out = job.dx.pixel(i, row, 0) + channel;
      eachVector(block, x, [&](int64_t offset, int v) {
        const Vec<Lanes> value = load<Lanes>(in + offset), dz = g.template masked<Relu>(value, load<Lanes>(grad + offset), v);
        store<Lanes>(out + offset, g.scale[v] * dz + ((value - g.mean[v]) * g.slope[v] + g.offset[v]));
      });
    }
  }
}

template <typename Value>
void batchNormBackward(const ImageOf<Value>& x, const ImageOf<Value>& dy, const float* mean, const float* inverseStd, const float* gamma, const float* beta,
                       bool relu, bool batchStatistics, float* dGamma, float* dBeta, const ImageOf<Value>& dx) {
  const BatchNorm<Value> job{x, dy, mean, inverseStd, gamma, beta, batchStatistics, dGamma, dBeta, dx};
  eachBlock(x.c, [&](const auto& block) {
    if (relu) backwardBlock<true>(block, job);
    else backwardBlock<false>(block, job);
  });
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
