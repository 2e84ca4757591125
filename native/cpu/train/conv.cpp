// Convolution forward and input gradient, fp32 NHWC. For every output pixel and kernel row the inputs are `run` contiguous floats of the
// bordered image, whatever the stride and the channel count; so both ops are one register-blocked product without im2col.
#include "cpu/train/conv_phase.h"
#include "cpu/train/conv_tile.h"
#include "cpu/train/conv_winograd.h"

namespace lethe {
namespace {

// All pixels of images [first, last), channels [channel, channel + Lanes * Vectors).
template <int Lanes, int Vectors, int Groups, int Size>
__attribute__((noinline)) void sweep(const Product& job, const Slice& slice, int64_t first, int64_t last, int64_t channel) {
  eachTile<Groups, Size>(job, first, last, channel, [&](const float* const* ins, float* const* outs) __attribute__((always_inline)) {
    tile<Lanes, Vectors, Groups, Size>(job, slice, ins, outs);
  });
}

// The register file holds 12 vectors of sums on AVX2 and SSE, 24 on AVX-512.
template <int Lanes, int Vectors>
inline __attribute__((always_inline)) void sweepTiles(const Product& job, const Slice& slice, int64_t first, int64_t last, int64_t channel) {
  constexpr bool kWide = kLanes == 16;
  if (job.w % 4 == 0 && (Vectors == 1 || kWide)) {
    sweep<Lanes, Vectors, 3, 4>(job, slice, first, last, channel);
  } else {
    sweep<Lanes, Vectors, Vectors == 1 || kWide ? 8 : 6, 1>(job, slice, first, last, channel);
  }
}

void sweepChannels(const Product& job, Slice slice, int64_t first, int64_t last) {
  const float* weight = slice.weight;
  const auto at = [&](int64_t c) { slice.weight = weight + c; };
  int64_t c = 0;
  for (; c + 2 * kLanes <= job.channels; c += 2 * kLanes) at(c), sweepTiles<kLanes, 2>(job, slice, first, last, c);
  for (; c + kLanes <= job.channels; c += kLanes) at(c), sweepTiles<kLanes, 1>(job, slice, first, last, c);
  if constexpr (kLanes > 8)
    for (; c + 8 <= job.channels; c += 8) at(c), sweepTiles<8, 1>(job, slice, first, last, c);
  if constexpr (kLanes > 4)
    for (; c + 4 <= job.channels; c += 4) at(c), sweepTiles<4, 1>(job, slice, first, last, c);
  for (; c < job.channels; ++c) at(c), sweepTiles<1, 1>(job, slice, first, last, c);
}

constexpr int64_t kSliceFloats = 4096;    // weights of one vector block in a slice: half of a 32 KB L1 cache
constexpr int64_t kGroupFloats = 32768;   // inputs of a group stay in L2

void multiply(const Product& job, int64_t first, int64_t last) {
  const int64_t width = job.channels < 2 * kLanes ? job.channels : 2 * kLanes, most = kSliceFloats / width;
  const int64_t run = job.run < 1 ? 1 : job.run;  // nothing to sum: one visit writes zeros
  const int64_t taps = run <= most ? most / run : 1, part = run <= most ? run : most;
  for (int64_t tap = 0; tap < job.taps || tap == 0; tap += taps) {
    for (int64_t k = 0; k < job.run || k == 0; k += part) {
      const Slice slice{tap * job.tapStep + k, job.weight + (tap * job.run + k) * job.channels, tap + taps < job.taps ? taps : job.taps - tap,
                        k + part < job.run ? part : job.run - k, tap == 0 && k == 0};
      sweepChannels(job, slice, first, last);
    }
  }
}

// scratch: as convScratchFloats says; weight: (9, inChannels, out.c).
void convolveByWinograd(const float* in, int64_t inImage, int64_t inRow, int64_t inChannels, const float* weight, const ImageView& out, float* scratch) {
  float *patches = scratch + 16 * inChannels * out.c, *sums = patches + 16 * kTiles * inChannels;
  transformFilter(weight, inChannels * out.c, scratch);
  convolveTiles({{in, inImage, inRow, inChannels, out}, scratch, patches, sums});
}

void convForward(const ConvShape& shape, const ImageView& x, const float* weight, const ImageView& y, float* scratch) {
  if (winogradSuits(shape, y)) {
    convolveByWinograd(x.pixel(0, -shape.pad, -shape.pad), x.imageStride(), x.rowStride(), x.c, weight, y, scratch);
    return;
  }
  const Product job{x.pixel(0, -shape.pad, -shape.pad),
                    x.imageStride(),
                    shape.stride * x.rowStride(),
                    shape.stride * x.c,
                    x.rowStride(),
                    y.pixel(0, 0, 0),
                    y.imageStride(),
                    y.rowStride(),
                    y.c,
                    y.h,
                    y.w,
                    weight,
                    shape.kernel,
                    shape.kernel * shape.inChannels,
                    shape.outChannels};
  const int64_t images = groupSize(y.h * y.w, x.imageStride(), kGroupFloats);
  for (int64_t first = 0; first < y.n; first += images) multiply(job, first, first + images < y.n ? first + images : y.n);
}

// packed: (y.taps, x.taps, outChannels, inChannels), flipped and transposed.
void packPhase(const ConvShape& s, const Phase& y, const Phase& x, const float* weight, float* packed) {
  for (int64_t j = 0; j < y.taps; ++j) {
    for (int64_t i = 0; i < x.taps; ++i) {
      const int64_t kh = y.first + s.stride * (y.taps - 1 - j), kw = x.first + s.stride * (x.taps - 1 - i);
      const float* from = weight + (kh * s.kernel + kw) * s.inChannels * s.outChannels;
      for (int64_t b = 0; b < s.outChannels; ++b)
        for (int64_t a = 0; a < s.inChannels; ++a) *packed++ = from[a * s.outChannels + b];
    }
  }
}

// The product that makes the gradients of all inputs (phase y, phase x); packed holds its weights.
Product phaseProduct(const ConvShape& s, const Phase& y, const Phase& x, const ImageView& dy, const float* packed, const ImageView& dx) {
  const bool empty = y.taps == 0 || x.taps == 0;
  return {dy.pixel(0, empty ? 0 : y.start, empty ? 0 : x.start),
          dy.imageStride(),
          dy.rowStride(),
          dy.c,
          dy.rowStride(),
          dx.pixel(0, y.phase, x.phase),
          dx.imageStride(),
          s.stride * dx.rowStride(),
          s.stride * dx.c,
          y.count,
          x.count,
          packed,
          empty ? 0 : y.taps,
          empty ? 0 : x.taps * dy.c,
          dx.c};
}

void convInputGradient(const ConvShape& shape, const ImageView& dy, const float* weight, const ImageView& dx, float* scratch) {
  const int64_t rows = shape.stride < dx.h ? shape.stride : dx.h, columns = shape.stride < dx.w ? shape.stride : dx.w;
  const auto eachPhase = [&](auto visit) {  // the phases share the taps among them, so that all packed weights fill scratch exactly
    float* packed = scratch;
    for (int64_t py = 0; py < rows; ++py) {
      for (int64_t px = 0; px < columns; ++px) {
        const Phase y(shape, py, dx.h), x(shape, px, dx.w);
        visit(y, x, packed);
        packed += y.taps * x.taps * dy.c * dx.c;
      }
    }
  };
  eachPhase([&](const Phase& y, const Phase& x, float* packed) { packPhase(shape, y, x, weight, packed); });
  if (winogradSuits(shape, dx)) {
    const int64_t reach = shape.pad - 2;
    convolveByWinograd(dy.pixel(0, reach, reach), dy.imageStride(), dy.rowStride(), dy.c, scratch, dx, scratch + 9 * dy.c * dx.c);
    return;
  }
  const int64_t images = groupSize(dx.h * dx.w, dy.imageStride(), kGroupFloats);
  for (int64_t first = 0; first < dx.n; first += images) {
    const int64_t last = first + images < dx.n ? first + images : dx.n;
    eachPhase([&](const Phase& y, const Phase& x, float* packed) { multiply(phaseProduct(shape, y, x, dy, packed, dx), first, last); });
  }
}

int64_t convScratchFloats(const ConvShape& shape, int64_t, int64_t) {
  return shape.kernel * shape.kernel * shape.inChannels * shape.outChannels + winogradScratchFloats(shape);
}

}  // namespace

void LETHE_PER_ISA(addConvKernels)(ImageKernels<float>& table) {
  table.convForward = convForward;
  table.convInputGradient = convInputGradient;
  table.convScratchFloats = convScratchFloats;
}

}  // namespace lethe
