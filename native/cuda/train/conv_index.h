// Convolutions as products of matrices whose rows and sums are read from images in place. Forward: rows are output pixels, the sum goes over
// (tap, input channel). Input gradient: the same with dy as the input, once for each position of a pixel within the stride (a phase), whose
// pixels all meet the same taps. Weight gradient: rows are (tap, input channel), the sum goes over output pixels.
#pragma once
#include "cuda/base/compiler.h"
#include "lethe/base/bf16.h"
#include "lethe/train/kernels.h"

namespace lethe {
inline namespace LETHE_ISA {

// One axis of the written pixels: pixel i, i < count, lies at outStart + outStep * i and reads position inStart + inStep * i + j with tap
// tapFirst + tapStep * j, for j in [0, taps).
struct Axis {
  int64_t count, outStart, outStep, inStart, inStep, taps, tapFirst, tapStep;
};

LETHE_ALWAYS_INLINE Axis forwardAxis(const ConvShape& s, int64_t outputs) { return {outputs, 0, 1, -s.pad, s.stride, s.kernel, 0, 1}; }

// size: of dx. A phase without taps writes zeros.
LETHE_ALWAYS_INLINE Axis gradientAxis(const ConvShape& s, int64_t phase, int64_t size) {
  const int64_t first = (phase + s.pad) % s.stride, taps = first < s.kernel ? (s.kernel - first + s.stride - 1) / s.stride : 0;
  const int64_t count = (size - phase + s.stride - 1) / s.stride, start = (phase + s.pad - first) / s.stride - taps + 1;
  return {count, phase, s.stride, start, 1, taps, first + s.stride * (taps - 1), -s.stride};
}

// A place in the sum over (tap, channel).
struct TapCursor {
  int channel = 0, x = 0, y = 0;
  LETHE_ALWAYS_INLINE void advance(int by, int channels, int tapsX) {
    channel += by;
    while (channel >= channels) {
      channel -= channels;
      if (++x == tapsX) {
        x = 0;
        ++y;
      }
    }
  }
};

// What the pixels [first, first + rows) of one phase read and write, as offsets into the images. Rows behind the last pixel read the last
// one and write nowhere (-1).
template <typename Value>
__device__ __forceinline__ void findPixels(const Axis& rows, const Axis& columns, const ImageOf<Value>& from, const ImageOf<Value>& to, int64_t first,
                                           int count, int64_t* fromAt, int64_t* toAt) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread >= count) return;
  const int64_t perImage = rows.count * columns.count, pixels = to.n * perImage;
  const int64_t pixel = first + thread < pixels ? first + thread : pixels - 1;
  const int64_t image = pixel / perImage, inside = pixel % perImage, y = inside / columns.count, x = inside % columns.count;
  fromAt[thread] = from.pixel(image, rows.inStart + rows.inStep * y, columns.inStart + columns.inStep * x) - from.data;
  toAt[thread] = first + thread < pixels ? to.pixel(image, rows.outStart + rows.outStep * y, columns.outStart + columns.outStep * x) - to.data : -1;
}

// Vectors of 8 channels are counted in 32 bits: what a thread loads next is then a few additions, beside which the matrix unit works.
inline bool countsVectors(const ImageOf<Bf16>& image) { return image.c % 8 == 0 && image.size() / 8 <= 0x7FFFFFFF; }

inline int64_t tilesOf(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }
// Weights rounded to bf16 lie in scratch with their output channels padded to whole vectors, and may need a shift to an aligned address.
inline int64_t paddedChannels(const ConvShape& s) { return (s.outChannels + 7) / 8 * 8; }
inline int64_t roundedWeightFloats(const ConvShape& s) { return s.kernel * s.kernel * s.inChannels * paddedChannels(s) / 2 + 4; }

inline int64_t weightCount(const ConvShape& s) { return s.kernel * s.kernel * s.inChannels * s.outChannels; }

// Into how many parts the weight gradient's sum over pixels is split, at most: enough blocks of (rows, columns) for two rounds of a large
// GPU. A function of the shape alone, so that results do not depend on the device.
inline int64_t mostSplits(const ConvShape& s, int64_t rows, int64_t columns) {
  const int64_t blocks = 528, tiles = tilesOf(s.kernel * s.kernel * s.inChannels, rows) * tilesOf(s.outChannels, columns);
  return tiles < blocks ? blocks / tiles : 1;
}

// dWeight = the sum of `splits` parts (splits, count) in their order.
void sumParts(const float* parts, int64_t splits, int64_t count, float* dWeight);

}  // namespace LETHE_ISA
}  // namespace lethe
