// Convolution weight gradient, fp32 NHWC: for every kernel row the inputs of an output pixel are `run` contiguous floats, so
// dWeight[kernel row] (run, outChannels) is a sum of outer products over the pixels, kept in registers over a band of rows.
#include "cpu/train/winograd.h"

namespace lethe {
namespace {

// The pixels of one visit: rows x w of one image.
struct Band {
  const float* x;   // input of the first pixel at the visited kernel row
  const float* dy;
  float* dWeight;   // (run, channels) of the kernel row
  int64_t rows, w, xRow, xPixel, dyRow, channels;
};

template <int Lanes, int Vectors, int Depth>
__attribute__((noinline)) void block(const Band& band) {
  Vec<Lanes> sum[Depth][Vectors] = {};
  const int64_t xPixel = band.xPixel, channels = band.channels;
  for (int64_t row = 0; row < band.rows; ++row) {
    const float *x = band.x + row * band.xRow, *dy = band.dy + row * band.dyRow;
#pragma GCC unroll 2
    for (int64_t p = 0; p < band.w; ++p) {
      Vec<Lanes> grad[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) grad[v] = load<Lanes>(dy + v * Lanes);
#pragma GCC unroll 16
      for (int k = 0; k < Depth; ++k) {
        const Vec<Lanes> value = broadcast<Lanes>(x[k]);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sum[k][v] += value * grad[v];
      }
      x += xPixel;
      dy += channels;
    }
  }
#pragma GCC unroll 16
  for (int k = 0; k < Depth; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      float* to = band.dWeight + k * channels + v * Lanes;
      store<Lanes>(to, load<Lanes>(to) + sum[k][v]);
    }
  }
}

template <int Lanes, int Vectors, int Most>
void blockOfDepth(int64_t depth, const Band& band) {
  if constexpr (Most > 1) {
    if (depth < Most) return blockOfDepth<Lanes, Vectors, Most - 1>(depth, band);
  }
  block<Lanes, Vectors, Most>(band);
}

// All k in [0, run) in blocks of nearly equal depth.
template <int Lanes, int Vectors, int Most>
void column(const Band& band, int64_t run) {
  const int64_t blocks = (run + Most - 1) / Most;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t from = b * run / blocks, to = (b + 1) * run / blocks;
    Band part = band;
    part.x += from;
    part.dWeight += from * band.channels;
    blockOfDepth<Lanes, Vectors, Most>(to - from, part);
  }
}

void visit(const Band& band, int64_t run) {
  const auto at = [&](int64_t c) {
    Band part = band;
    part.dy += c;
    part.dWeight += c;
    return part;
  };
  int64_t c = 0;
  for (; c + 2 * kLanes <= band.channels; c += 2 * kLanes) column<kLanes, 2, kLanes == 16 ? 12 : 6>(at(c), run);
  for (; c + kLanes <= band.channels; c += kLanes) column<kLanes, 1, 12>(at(c), run);
  if constexpr (kLanes > 8)
    for (; c + 8 <= band.channels; c += 8) column<8, 1, 8>(at(c), run);
  if constexpr (kLanes > 4)
    for (; c + 4 <= band.channels; c += 4) column<4, 1, 8>(at(c), run);
  for (; c < band.channels; ++c) column<1, 1, 8>(at(c), run);
}

constexpr int64_t kBandFloats = 5120;  // inputs and gradients of a band stay in a 32 KB L1 cache

// A dy A^T with the rows 1 0, 1 1, 1 -1, 0 -1 in A.
template <int Lanes>
inline __attribute__((always_inline)) void transformGradient(const float* dy, int64_t row, int64_t channels, float* to, int64_t plane) {
  const Vec<Lanes> a = load<Lanes>(dy), b = load<Lanes>(dy + channels), c = load<Lanes>(dy + row), d = load<Lanes>(dy + row + channels);
  const Vec<Lanes> left[4] = {a, a + c, a - c, -c}, right[4] = {b, b + d, b - d, -d};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    store<Lanes>(to + (4 * i + 0) * plane, left[i]);
    store<Lanes>(to + (4 * i + 1) * plane, left[i] + right[i]);
    store<Lanes>(to + (4 * i + 2) * plane, left[i] - right[i]);
    store<Lanes>(to + (4 * i + 3) * plane, -right[i]);
  }
}

// G^T u G with the rows 1 0 0, 1/2 1/2 1/2, 1/2 -1/2 1/2, 0 0 1 in G. transformed: (16, count), filter: (9, count).
void transformBack(const float* transformed, int64_t count, float* filter) {
  for (int64_t e = 0; e < count; ++e) {
    float rows[3][4];
    for (int j = 0; j < 4; ++j) {
      const float a = transformed[j * count + e], b = transformed[(4 + j) * count + e], c = transformed[(8 + j) * count + e],
                  d = transformed[(12 + j) * count + e];
      rows[0][j] = a + 0.5f * (b + c);
      rows[1][j] = 0.5f * (b - c);
      rows[2][j] = d + 0.5f * (b + c);
    }
    for (int i = 0; i < 3; ++i) {
      filter[(3 * i + 0) * count + e] = rows[i][0] + 0.5f * (rows[i][1] + rows[i][2]);
      filter[(3 * i + 1) * count + e] = 0.5f * (rows[i][1] - rows[i][2]);
      filter[(3 * i + 2) * count + e] = rows[i][3] + 0.5f * (rows[i][1] + rows[i][2]);
    }
  }
}

// The transformed filter's gradient is, at each of the 16 positions, a product of transformed patches and transformed dy.
void weightGradientByWinograd(const Patches& p, float* dWeight, float* scratch) {
  const int64_t total = p.count(), ci = p.inChannels, co = p.out.c;
  float *sums = scratch, *patches = sums + 16 * ci * co, *gradients = patches + 16 * kGradientTiles * ci;
  std::memset(sums, 0, static_cast<size_t>(16 * ci * co) * sizeof(float));
  PatchCursor cursor{p}, ahead{p};
  for (int64_t t = 0; t < 12; ++t) ahead.next();
  for (int64_t first = 0; first < total; first += kGradientTiles) {
    const int64_t count = total - first < kGradientTiles ? total - first : kGradientTiles;
    for (int64_t t = 0; t < count; ++t, cursor.next(), ahead.next()) {
      const float *in = cursor.in(), *dy = cursor.out();
      float *patch = patches + t * ci, *gradient = gradients + t * co;
      if (first + t + 12 < total) prefetchPatch(p, ahead.in()), prefetchOutput<0>(p, ahead.out());
      eachWidth(ci, [&](auto width, int64_t c) { transformPatch<width.kWidth>(in + c, p.inRow, ci, patch + c, kGradientTiles * ci); });
      eachWidth(co, [&](auto width, int64_t c) { transformGradient<width.kWidth>(dy + c, p.out.rowStride(), co, gradient + c, kGradientTiles * co); });
    }
    for (int64_t position = 0; position < 16; ++position) {
      visit({patches + position * kGradientTiles * ci, gradients + position * kGradientTiles * co, sums + position * ci * co, 1, count, 0, ci, 0, co}, ci);
    }
  }
  transformBack(sums, ci * co, dWeight);
}

void convWeightGradient(const ConvShape& shape, const ImageView& x, const ImageView& dy, float* dWeight, float* scratch) {
  if (winogradSuits(shape, dy)) {
    weightGradientByWinograd({x.pixel(0, -shape.pad, -shape.pad), x.imageStride(), x.rowStride(), x.c, dy}, dWeight, scratch);
    return;
  }
  const int64_t run = shape.kernel * shape.inChannels;
  std::memset(dWeight, 0, static_cast<size_t>(shape.kernel * run * shape.outChannels) * sizeof(float));
  const int64_t fitting = kBandFloats / (shape.stride * x.rowStride() + dy.rowStride());
  const int64_t rows = fitting < 1 ? 1 : fitting < dy.h ? fitting : dy.h;
  for (int64_t i = 0; i < dy.n; ++i) {
    for (int64_t top = 0; top < dy.h; top += rows) {
      for (int64_t kh = 0; kh < shape.kernel; ++kh) {
        visit({x.pixel(i, top * shape.stride + kh - shape.pad, -shape.pad), dy.pixel(i, top, 0), dWeight + kh * run * shape.outChannels,
               top + rows < dy.h ? rows : dy.h - top, dy.w, shape.stride * x.rowStride(), shape.stride * x.c, dy.rowStride(), shape.outChannels},
              run);
      }
    }
  }
}

}  // namespace

void LETHE_PER_ISA(addConvWeightKernels)(ImageKernels<float>& table) { table.convWeightGradient = convWeightGradient; }

}  // namespace lethe
