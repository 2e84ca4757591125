// Winograd's F(2x2, 3x3): 2 x 2 outputs from a 4 x 4 patch with 16 multiplications instead of 36. Patch and filter are transformed,
// multiplied at each of the 16 positions over all channels, and the sums transformed back; in fp32 it costs about one more bit of
// rounding. A NaN in a patch reaches all of its four outputs.
#pragma once
#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

// A 3 x 3 convolution with stride 1 and even output sizes, seen as overlapping 4 x 4 patches of the input.
struct Patches {
  const float* in;  // of output pixel (0, 0, 0)
  int64_t inImage, inRow, inChannels;
  ImageView out;  // y, or dy

  int64_t count() const { return out.n * (out.h / 2) * (out.w / 2); }
};

inline bool winogradSuits(const ConvShape& s, const ImageView& out) {
  return s.kernel == 3 && s.stride == 1 && s.inChannels >= 16 && s.outChannels >= 16 && out.h % 2 == 0 && out.w % 2 == 0;
}

// Patches that are multiplied together: few for the forward product (all three arrays fit the L1 and L2 caches; a multiple of the groups
// of a tile), more for the weight gradient, which keeps its sums in registers over all of them.
constexpr int64_t kTiles = 12, kGradientTiles = 48;

inline int64_t winogradScratchFloats(const ConvShape& s) {
  return s.kernel == 3 ? 16 * (s.inChannels * s.outChannels + kGradientTiles * (s.inChannels + s.outChannels)) : 0;
}

// B^T d B with the rows 1 0 -1 0, 0 1 1 0, 0 -1 1 0, 0 1 0 -1 in B^T.
template <int Lanes>
inline __attribute__((always_inline)) void transformPatch(const float* in, int64_t row, int64_t channels, float* to, int64_t plane) {
  Vec<Lanes> t[4][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec<Lanes> a = load<Lanes>(in + j * channels), b = load<Lanes>(in + row + j * channels), c = load<Lanes>(in + 2 * row + j * channels),
                     d = load<Lanes>(in + 3 * row + j * channels);
    t[0][j] = a - c;
    t[1][j] = b + c;
    t[2][j] = c - b;
    t[3][j] = b - d;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    store<Lanes>(to + (4 * i + 0) * plane, t[i][0] - t[i][2]);
    store<Lanes>(to + (4 * i + 1) * plane, t[i][1] + t[i][2]);
    store<Lanes>(to + (4 * i + 2) * plane, t[i][2] - t[i][1]);
    store<Lanes>(to + (4 * i + 3) * plane, t[i][1] - t[i][3]);
  }
}

// Calls visit(Lanes, c) for blocks of channels that cover [0, channels).
template <int Lanes>
struct Width {
  static constexpr int kWidth = Lanes;
};
template <typename Visit>
inline __attribute__((always_inline)) void eachWidth(int64_t channels, Visit visit) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) visit(Width<kLanes>{}, c);
  if constexpr (kLanes > 4)
    for (; c + 4 <= channels; c += 4) visit(Width<4>{}, c);
  for (; c < channels; ++c) visit(Width<1>{}, c);
}

// Walks the patches of a batch, row by row and image by image.
struct PatchCursor {
  const Patches& p;
  int64_t image = 0, row = 0, column = 0;

  const float* in() const { return p.in + image * p.inImage + 2 * row * p.inRow + 2 * column * p.inChannels; }
  float* out() const { return p.out.pixel(image, 2 * row, 2 * column); }
  void next() {
    if (++column < p.out.w / 2) return;
    column = 0;
    if (++row == p.out.h / 2) row = 0, ++image;
  }
};

// Touches what a patch adds to its neighbours, 2 x 2 pixels: runs too short for the processor to foresee.
inline __attribute__((always_inline)) void prefetchPatch(const Patches& p, const float* in) {
  for (int64_t c = 0; c < 2 * p.inChannels; c += 16) {
    __builtin_prefetch(in + 2 * p.inRow + 2 * p.inChannels + c);
    __builtin_prefetch(in + 3 * p.inRow + 2 * p.inChannels + c);
  }
}

// The 2 x 2 output pixels of a patch.
template <int Write>
inline __attribute__((always_inline)) void prefetchOutput(const Patches& p, const float* out) {
  for (int64_t c = 0; c < 2 * p.out.c; c += 16) {
    __builtin_prefetch(out + c, Write);
    __builtin_prefetch(out + p.out.rowStride() + c, Write);
  }
}

}  // namespace
}  // namespace lethe
