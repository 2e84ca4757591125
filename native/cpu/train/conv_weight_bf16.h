// Packed operands of the weight gradient of bf16 images, for a group of images that stays in the L2 cache. The inputs of an output pixel
// and a kernel row are `run` contiguous numbers; those of two neighbouring pixels are interleaved, and so are their gradients.
#pragma once
#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

// Sizes in words of 32 bits: pairs. Input rows are sorted by row % stride, so that the rows that meet one kernel row follow each other.
struct Panels {
  int64_t rowPairs, run, channels;  // rowPairs: of a row of the output, ceil(w / 2); channels: of the output, padded
  int64_t xPair, dyPair;            // from one pair of pixels to the next
  int64_t pairs, rows;              // of an image: pairs of output pixels; input rows
  int64_t images;                   // of a group

  static int64_t phaseRows(const ConvShape& s, int64_t h, int64_t phase) { return phase < s.kernel ? h + (s.kernel - 1 - phase) / s.stride : 0; }
  static int64_t rowsBefore(const ConvShape& s, int64_t h, int64_t phase) {
    int64_t rows = 0;
    for (int64_t f = 0; f < phase; ++f) rows += phaseRows(s, h, f);
    return rows;
  }

  // Pairs an even number of cache lines apart would share a few sets of the L1 cache.
  static int64_t spread(int64_t words) { return words < 128 ? words : words / 32 * 32 + (words % 32 <= 16 ? 16 : 48); }

  // h, w: of the output.
  Panels(const ConvShape& s, int64_t h, int64_t w, int64_t paddedOut)
      : rowPairs((w + 1) / 2),
        run(s.kernel * s.inChannels),
        channels(paddedOut),
        xPair(spread(run)),
        dyPair(spread(channels)),
        pairs(h * rowPairs),
        rows(rowsBefore(s, h, s.stride)),
        images(kGroupWords / (xWords() + dyWords() + 1) + 1) {}

  static constexpr int64_t kGroupWords = 163840;  // 640 KiB
  int64_t xWords() const { return rows * rowPairs * xPair; }
  int64_t dyWords() const { return pairs * dyPair; }
};

template <int Lanes>
inline __attribute__((always_inline)) void interleaveStep(const Bf16* a, const Bf16* b, uint32_t* to) {
  typedef uint32_t Unaligned __attribute__((vector_size(Lanes * 4), aligned(4), may_alias));
  *reinterpret_cast<Unaligned*>(to) = loadHalves<Lanes>(a) | loadHalves<Lanes>(b) << 16;
}

// to[k] = pair (a[k], b[k]); b may be null: zeros.
inline __attribute__((always_inline)) void interleave(const Bf16* a, const Bf16* b, int64_t count, uint32_t* to) {
  int64_t k = 0;
  if (!b) {
    for (; k < count; ++k) to[k] = a[k].bits;
    return;
  }
  for (; k + kLanes <= count; k += kLanes) interleaveStep<kLanes>(a + k, b + k, to + k);
  if constexpr (kLanes > 8)
    for (; k + 8 <= count; k += 8) interleaveStep<8>(a + k, b + k, to + k);
  if constexpr (kLanes > 4)
    for (; k + 4 <= count; k += 4) interleaveStep<4>(a + k, b + k, to + k);
  for (; k < count; ++k) to[k] = a[k].bits | static_cast<uint32_t>(b[k].bits) << 16;
}

// count numbers a pixel, pixels `step` apart.
void packRow(const Bf16* row, int64_t w, int64_t step, int64_t count, int64_t stride, uint32_t* to) {
  for (int64_t p = 0; p < w; p += 2, to += stride) {
    interleave(row + p * step, p + 1 < w ? row + (p + 1) * step : nullptr, count, to);
  }
}

void packImages(const ConvShape& s, const Panels& panels, const ImageOf<Bf16>& x, const ImageOf<Bf16>& dy, int64_t first, int64_t count, uint32_t* xPanel,
                uint32_t* dyPanel) {
  for (int64_t i = first; i < first + count; ++i) {
    for (int64_t phase = 0; phase < s.stride && phase < s.kernel; ++phase) {
      for (int64_t row = 0; row < Panels::phaseRows(s, dy.h, phase); ++row, xPanel += panels.rowPairs * panels.xPair) {
        packRow(x.pixel(i, row * s.stride + phase - s.pad, -s.pad), dy.w, s.stride * x.c, panels.run, panels.xPair, xPanel);
      }
    }
    for (int64_t row = 0; row < dy.h; ++row, dyPanel += panels.rowPairs * panels.dyPair) {
      packRow(dy.pixel(i, row, 0), dy.w, dy.c, dy.c, panels.dyPair, dyPanel);
    }
  }
}

}  // namespace
}  // namespace lethe
