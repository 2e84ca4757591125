// Forward convolution and input gradient by Winograd's method.
#pragma once
#include "cpu/train/conv_tile.h"
#include "cpu/train/winograd.h"

namespace lethe {
namespace {

struct Winograd {
  Patches in;
  const float* filter;    // (16, inChannels, out.c), transformed
  float *patches, *sums;  // (16, kTiles, inChannels), (16, kTiles, out.c)
};

// filter: (9, count); transformed: (16, count), G g G^T with the rows 1 0 0, 1/2 1/2 1/2, 1/2 -1/2 1/2, 0 0 1 in G.
void transformFilter(const float* filter, int64_t count, float* transformed) {
  for (int64_t e = 0; e < count; ++e) {
    float rows[4][3];
    for (int j = 0; j < 3; ++j) {
      const float a = filter[j * count + e], b = filter[(3 + j) * count + e], c = filter[(6 + j) * count + e];
      rows[0][j] = a;
      rows[1][j] = 0.5f * (a + c + b);
      rows[2][j] = 0.5f * (a + c - b);
      rows[3][j] = c;
    }
    for (int i = 0; i < 4; ++i) {
      float* to = transformed + 4 * i * count + e;
      to[0] = rows[i][0];
      to[count] = 0.5f * (rows[i][0] + rows[i][2] + rows[i][1]);
      to[2 * count] = 0.5f * (rows[i][0] + rows[i][2] - rows[i][1]);
      to[3 * count] = rows[i][2];
    }
  }
}

// A^T m A with the rows 1 1 1 0, 0 1 -1 -1 in A^T.
template <int Lanes>
inline __attribute__((always_inline)) void transformSums(const float* from, int64_t plane, float* out, int64_t row, int64_t channels) {
  Vec<Lanes> t[2][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec<Lanes> a = load<Lanes>(from + j * plane), b = load<Lanes>(from + (4 + j) * plane), c = load<Lanes>(from + (8 + j) * plane),
                     d = load<Lanes>(from + (12 + j) * plane);
    t[0][j] = a + b + c;
    t[1][j] = b - c - d;
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    store<Lanes>(out + i * row, t[i][0] + t[i][1] + t[i][2]);
    store<Lanes>(out + i * row + channels, t[i][1] - t[i][2] - t[i][3]);
  }
}

// sums (count, channels) = patches (count, inChannels) * filter (inChannels, channels) at one of the 16 positions, channels
// [channel, channel + Lanes * Vectors); count is rounded up to whole tiles.
template <int Lanes, int Vectors>
inline __attribute__((always_inline)) void multiplyPosition(const Product& job, int64_t count, int64_t channel) {
  constexpr int kGroups = Vectors == 2 && kLanes < 16 ? 6 : 12;
  const Slice slice{0, job.weight + channel, 1, job.run, true};
  for (int64_t first = 0; first < count; first += kGroups) {
    const float* ins[kGroups];
    float* outs[kGroups];
#pragma GCC unroll 12
    for (int g = 0; g < kGroups; ++g) {
      ins[g] = job.in + (first + g) * job.inPixel;
      outs[g] = job.out + (first + g) * job.outPixel + channel;
    }
    if constexpr (kGroups == 12) {
      const float* inThrees[3] = {ins[0], ins[4], ins[8]};
      float* outThrees[3] = {outs[0], outs[4], outs[8]};
      tile<Lanes, Vectors, 3, 4>(job, slice, inThrees, outThrees);
    } else {
      tile<Lanes, Vectors, kGroups, 1>(job, slice, ins, outs);
    }
  }
}

void multiplyTiles(const Winograd& w, int64_t count) {
  const int64_t ci = w.in.inChannels, co = w.in.out.c;
  for (int64_t position = 0; position < 16; ++position) {
    const Product job{w.patches + position * kTiles * ci, 0, 0,  ci, 0, w.sums + position * kTiles * co, 0, 0, co, 1, count,
                      w.filter + position * ci * co,      1, ci, co};
    int64_t c = 0;
    for (; c + 2 * kLanes <= co; c += 2 * kLanes) multiplyPosition<kLanes, 2>(job, count, c);
    for (; c + kLanes <= co; c += kLanes) multiplyPosition<kLanes, 1>(job, count, c);
    if constexpr (kLanes > 4)
      for (; c + 4 <= co; c += 4) multiplyPosition<4, 1>(job, count, c);
    for (; c < co; ++c) multiplyPosition<1, 1>(job, count, c);
  }
}

void convolveTiles(const Winograd& w) {
  const Patches& p = w.in;
  const int64_t total = p.count(), ci = p.inChannels, co = p.out.c;
  PatchCursor cursor{p}, ahead{p};
  for (int64_t t = 0; t < kTiles; ++t) ahead.next();
  for (int64_t first = 0; first < total; first += kTiles) {
    const int64_t count = total - first < kTiles ? total - first : kTiles;
    float* out[kTiles];
    for (int64_t t = 0; t < count; ++t, cursor.next(), ahead.next()) {
      const float* in = cursor.in();
      float* to = w.patches + t * ci;
      out[t] = cursor.out();
      prefetchOutput<1>(p, out[t]);
      if (first + kTiles + t < total) prefetchPatch(p, ahead.in());
      eachWidth(ci, [&](auto width, int64_t c) { transformPatch<width.kWidth>(in + c, p.inRow, ci, to + c, kTiles * ci); });
    }
    multiplyTiles(w, count);
    for (int64_t t = 0; t < count; ++t) {
      const float* from = w.sums + t * co;
      eachWidth(co, [&](auto width, int64_t c) { transformSums<width.kWidth>(from + c, kTiles * co, out[t] + c, p.out.rowStride(), co); });
    }
  }
}

}  // namespace
}  // namespace lethe
