// Convolution forward and input gradient of bf16 images as one product. As in fp32, the inputs of an output pixel and a kernel row are
// `run` contiguous numbers of the bordered image; they are multiplied in pairs with fp32 sums over the whole kernel, so that an output is
// rounded once. An Engine multiplies; it says how it wants the weights:
//   kPairStep          pairs of a kernel row are padded with zeros to a multiple of it
//   eachBlock(c, visit)  visits blocks of channels {first, count, kWidth}, each of which has a panel (taps, pairs, kWidth) of packed weights
//   multiply(product, first, last)   images [first, last)
#pragma once
#include "cpu/base/simd.h"
#include "cpu/train/conv_phase.h"
#include "cpu/train/conv_product.h"

namespace lethe {
namespace {

// weight: packed, a panel (taps, pairs of k, width) a block of channels.
using Product = ProductOf<Bf16, uint32_t>;

// Pairs of a kernel row in packed weights.
template <typename Engine>
int64_t packedPairs(int64_t run) {
  return ((run + 1) / 2 + Engine::kPairStep - 1) / Engine::kPairStep * Engine::kPairStep;
}

// Channels with those that blocks reach beyond the last.
template <typename Engine>
int64_t packedChannels(int64_t channels) {
  int64_t width = 0;
  Engine::eachBlock(channels, [&](auto block) { width = block.first + block.kWidth; });
  return width;
}

constexpr int64_t kGroupValues = 131072;  // inputs of a group stay in L2

// Words of a packed product.
template <typename Engine>
int64_t packedSize(int64_t taps, int64_t run, int64_t channels) {
  return taps * packedPairs<Engine>(run) * packedChannels<Engine>(channels);
}

// row(tap, k) gives weights of consecutive channels, `step` apart.
template <typename Engine, typename Row>
void pack(int64_t taps, int64_t run, int64_t channels, int64_t step, uint32_t* packed, Row row) {
  Engine::eachBlock(channels, [&](auto block) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t k = 0; k < 2 * packedPairs<Engine>(run); k += 2, packed += block.kWidth) {
        const float* low = k < run ? row(tap, k) + block.first * step : nullptr;
        const float* high = k + 1 < run ? row(tap, k + 1) + block.first * step : nullptr;
        for (int64_t c = 0; c < block.kWidth; ++c) {
          const bool there = c < block.count;
          const uint32_t first = there && low ? Bf16(low[c * step]).bits : 0, second = there && high ? Bf16(high[c * step]).bits : 0;
          packed[c] = first | second << 16;
        }
      }
    }
  });
}

template <typename Engine>
void convForward(const ConvShape& shape, const ImageOf<Bf16>& x, const float* weight, const ImageOf<Bf16>& y, float* scratch) {
  uint32_t* packed = reinterpret_cast<uint32_t*>(scratch);
  const int64_t run = shape.kernel * shape.inChannels;
  pack<Engine>(shape.kernel, run, y.c, 1, packed, [&](int64_t tap, int64_t k) { return weight + (tap * run + k) * y.c; });
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
                    packed,
                    shape.kernel,
                    run,
                    y.c};
  const int64_t images = groupSize(y.h * y.w, x.imageStride(), kGroupValues);
  for (int64_t first = 0; first < y.n; first += images) Engine::multiply(job, first, first + images < y.n ? first + images : y.n);
}

// Flipped and transposed weights of the inputs (phase y, phase x).
template <typename Engine>
void packPhase(const ConvShape& s, const Phase& y, const Phase& x, const float* weight, uint32_t* packed) {
  pack<Engine>(y.taps, x.taps * s.outChannels, s.inChannels, s.outChannels, packed, [&](int64_t j, int64_t k) {
    const int64_t i = k / s.outChannels, kh = y.first + s.stride * (y.taps - 1 - j), kw = x.first + s.stride * (x.taps - 1 - i);
    return weight + (kh * s.kernel + kw) * s.inChannels * s.outChannels + k % s.outChannels;
  });
}

// The product that makes the gradients of all inputs (phase y, phase x).
Product phaseProduct(const ConvShape& s, const Phase& y, const Phase& x, const ImageOf<Bf16>& dy, const uint32_t* packed, const ImageOf<Bf16>& dx) {
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

template <typename Engine>
void convInputGradient(const ConvShape& shape, const ImageOf<Bf16>& dy, const float* weight, const ImageOf<Bf16>& dx, float* scratch) {
  const int64_t rows = shape.stride < dx.h ? shape.stride : dx.h, columns = shape.stride < dx.w ? shape.stride : dx.w;
  const auto eachPhase = [&](auto visit) {
    uint32_t* packed = reinterpret_cast<uint32_t*>(scratch);
    for (int64_t py = 0; py < rows; ++py) {
      for (int64_t px = 0; px < columns; ++px) {
        const Phase y(shape, py, dx.h), x(shape, px, dx.w);
        visit(y, x, packed);
        packed += packedSize<Engine>(y.taps, x.taps * dy.c, dx.c);
      }
    }
  };
  eachPhase([&](const Phase& y, const Phase& x, uint32_t* packed) { packPhase<Engine>(shape, y, x, weight, packed); });
  const int64_t images = groupSize(dx.h * dx.w, dy.imageStride(), kGroupValues);
  for (int64_t first = 0; first < dx.n; first += images) {
    const int64_t last = first + images < dx.n ? first + images : dx.n;
    eachPhase([&](const Phase& y, const Phase& x, const uint32_t* packed) { Engine::multiply(phaseProduct(shape, y, x, dy, packed, dx), first, last); });
  }
}

// Words of scratch for both products. A phase of the input gradient has at most ceil(kernel / stride) taps each way, and together they
// have those of the kernel.
template <typename Engine>
int64_t productScratch(const ConvShape& s) {
  const int64_t forward = packedSize<Engine>(s.kernel, s.kernel * s.inChannels, s.outChannels);
  int64_t backward = 0;
  for (int64_t py = 0; py < s.stride && py < s.kernel; ++py) {
    for (int64_t px = 0; px < s.stride && px < s.kernel; ++px) {
      const int64_t rows = (s.kernel - py + s.stride - 1) / s.stride, columns = (s.kernel - px + s.stride - 1) / s.stride;
      backward += packedSize<Engine>(rows, columns * s.outChannels, s.inChannels);
    }
  }
  return forward > backward ? forward : backward;
}

}  // namespace
}  // namespace lethe
