// Convolution forward and input gradient of bf16 images. As in fp32, the inputs of an output pixel and a kernel row are `run` contiguous
// numbers of the bordered image; they are multiplied in pairs with fp32 sums over the whole kernel, so that an output is rounded once.
#include "conv_phase.h"
#include "dot_bf16.h"

namespace lethe {
namespace {

// y[pixel, c] = sum over taps and k < run of in[pixel + tap * tapStep + k] * weight[tap, k, c].
struct Product {
  const Bf16* in;  // of output pixel (0, 0, 0)
  int64_t inImage, inRow, inPixel, tapStep;  // strides; the first three per step of the output
  Bf16* out;
  int64_t outImage, outRow, outPixel;
  int64_t h, w;            // of the output
  const uint32_t* weight;  // packed: a panel (taps, pairs of k, width) a block of channels
  int64_t taps, run, channels;

  int64_t pairs() const { return (run + 1) / 2; }
};

template <int Lanes, int Vectors>
inline __attribute__((always_inline)) void storePixel(const Vec<Lanes> (&sum)[Vectors], int64_t count, Bf16* out) {
  if (count == Lanes * Vectors) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) store<Lanes>(out + v * Lanes, sum[v]);
    return;
  }
  Bf16 rounded[Lanes * Vectors];
  for (int v = 0; v < Vectors; ++v) store<Lanes>(rounded + v * Lanes, sum[v]);
  std::memcpy(out, rounded, static_cast<size_t>(count) * sizeof(Bf16));
}

// One pair of inputs of every pixel. Last: the pair has one number, and its neighbour in memory must not meet the padded weight, since
// NaN times zero is NaN.
template <int Lanes, int Vectors, int Groups, int Size, bool Last>
inline __attribute__((always_inline)) void addPair(Vec<Lanes> (&sum)[Groups * Size][Vectors], const Bf16* const (&from)[Groups], int64_t k,
                                                   int64_t inPixel, const uint32_t* weight) {
  Word32<Lanes> taken[Vectors];
#pragma GCC unroll 2
  for (int v = 0; v < Vectors; ++v) taken[v] = loadPairs<Lanes>(weight + v * Lanes);
#pragma GCC unroll 24
  for (int p = 0; p < Groups * Size; ++p) {
    const Bf16* at = from[p / Size] + p % Size * inPixel + k;
    const Word32<Lanes> value = Word32<Lanes>{} + (Last ? at->bits : pairAt(at));
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[p][v] = dot<Lanes>(sum[p][v], taken[v], value);
  }
}

// A tile is Groups pointers to Size pixels each, which are neighbours in their row.
template <int Lanes, int Vectors, int Groups, int Size>
inline __attribute__((always_inline)) void tile(const Product& job, const uint32_t* weight, int64_t count, const Bf16* const* in, Bf16* const* out) {
  Vec<Lanes> sum[Groups * Size][Vectors] = {};
  const Bf16* from[Groups];
  const int64_t inPixel = job.inPixel, pairs = job.run / 2, rest = job.tapStep - 2 * pairs;
  for (int g = 0; g < Groups; ++g) from[g] = in[g];
  for (int64_t tap = 0; tap < job.taps; ++tap) {
#pragma GCC unroll 2
    for (int64_t k = 0; k < pairs; ++k) {
      addPair<Lanes, Vectors, Groups, Size, false>(sum, from, Size == 1 ? 2 * k : 0, inPixel, weight);
      weight += Lanes * Vectors;
      if constexpr (Size > 1) {
#pragma GCC unroll 12
        for (int g = 0; g < Groups; ++g) {
          from[g] += 2;
          asm("" : "+r"(from[g]));  // keeps a group's pixels at fixed offsets from one register: a counter for each would spill
        }
      }
    }
    if (job.run % 2 != 0) {
      addPair<Lanes, Vectors, Groups, Size, true>(sum, from, Size == 1 ? 2 * pairs : 0, inPixel, weight);
      weight += Lanes * Vectors;
    }
#pragma GCC unroll 12
    for (int g = 0; g < Groups; ++g) from[g] += Size > 1 ? rest : job.tapStep;
  }
#pragma GCC unroll 24
  for (int p = 0; p < Groups * Size; ++p) storePixel<Lanes, Vectors>(sum[p], count, out[p / Size] + p % Size * job.outPixel);
}

// All pixels of images [first, last); job.w is a multiple of Size. A last short tile repeats its last group.
template <int Groups, int Size, int Lanes, int Vectors>
__attribute__((noinline)) void sweep(const Product& job, const ChannelBlock<Lanes, Vectors>& block, int64_t first, int64_t last) {
  const uint32_t* weight = job.weight + job.taps * job.pairs() * block.first;
  int64_t image = first, row = 0, column = 0;
  const Bf16* in = job.in + first * job.inImage;
  Bf16* out = job.out + first * job.outImage + block.first;
  const Bf16* ins[Groups];
  Bf16* outs[Groups];
  while (image < last) {
    for (int g = 0; g < Groups; ++g) {
      ins[g] = in;
      outs[g] = out;
      if (image == last) continue;
      column += Size;
      if (column < job.w) {
        in += Size * job.inPixel;
        out += Size * job.outPixel;
        continue;
      }
      column = 0;
      if (++row == job.h) row = 0, ++image;
      if (image == last) continue;
      in = job.in + image * job.inImage + row * job.inRow;
      out = job.out + image * job.outImage + row * job.outRow + block.first;
    }
    tile<Lanes, Vectors, Groups, Size>(job, weight, block.count, ins, outs);
  }
}

constexpr bool kWide = LETHE_VECTOR_BYTES == 64;  // 32 registers

template <int Lanes, int Vectors>
void sweepBlock(const Product& job, const ChannelBlock<Lanes, Vectors>& block, int64_t first, int64_t last) {
  constexpr int kPixels = (kWide ? 24 : 8) / Vectors;
  if (job.w % 4 == 0)
    sweep<kPixels / 4, 4>(job, block, first, last);
  else
    sweep<kWide ? 8 : 4, 1>(job, block, first, last);
}

constexpr int64_t kGroupPixels = 256;     // pixels that share a visit of a panel
constexpr int64_t kGroupValues = 131072;  // inputs of a group stay in L2

// Images that are worked on together.
int64_t groupSize(int64_t pixels, int64_t inImage) {
  const int64_t wanted = kGroupPixels / pixels, fitting = kGroupValues / (inImage + 1), images = wanted < fitting ? wanted : fitting;
  return images < 1 ? 1 : images;
}

void multiply(const Product& job, int64_t first, int64_t last) {
  eachChannelBlock(job.channels, [&](auto block) { sweepBlock(job, block, first, last); });
}

// Words of a packed product.
int64_t packedSize(int64_t taps, int64_t run, int64_t channels) { return taps * ((run + 1) / 2) * paddedChannels(channels); }

// row(tap, k) gives weights of consecutive channels, `step` apart.
template <typename Row>
void pack(int64_t taps, int64_t run, int64_t channels, int64_t step, uint32_t* packed, Row row) {
  eachChannelBlock(channels, [&](auto block) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t k = 0; k < run; k += 2, packed += block.kWidth) {
        const float *low = row(tap, k) + block.first * step, *high = k + 1 < run ? row(tap, k + 1) + block.first * step : nullptr;
        for (int64_t c = 0; c < block.kWidth; ++c) {
          const bool there = c < block.count;
          const uint32_t first = there ? Bf16(low[c * step]).bits : 0, second = there && high ? Bf16(high[c * step]).bits : 0;
          packed[c] = first | second << 16;
        }
      }
    }
  });
}

void convForward(const ConvShape& shape, const ImageOf<Bf16>& x, const float* weight, const ImageOf<Bf16>& y, float* scratch) {
  uint32_t* packed = reinterpret_cast<uint32_t*>(scratch);
  const int64_t run = shape.kernel * shape.inChannels;
  pack(shape.kernel, run, y.c, 1, packed, [&](int64_t tap, int64_t k) { return weight + (tap * run + k) * y.c; });
  const Product job{x.pixel(0, -shape.pad, -shape.pad), x.imageStride(), shape.stride * x.rowStride(), shape.stride * x.c, x.rowStride(),
                    y.pixel(0, 0, 0), y.imageStride(), y.rowStride(), y.c, y.h, y.w, packed, shape.kernel, run, y.c};
  const int64_t images = groupSize(y.h * y.w, x.imageStride());
  for (int64_t first = 0; first < y.n; first += images) multiply(job, first, first + images < y.n ? first + images : y.n);
}

// Flipped and transposed weights of the inputs (phase y, phase x).
void packPhase(const ConvShape& s, const Phase& y, const Phase& x, const float* weight, uint32_t* packed) {
  pack(y.taps, x.taps * s.outChannels, s.inChannels, s.outChannels, packed, [&](int64_t j, int64_t k) {
    const int64_t i = k / s.outChannels, kh = y.first + s.stride * (y.taps - 1 - j), kw = x.first + s.stride * (x.taps - 1 - i);
    return weight + (kh * s.kernel + kw) * s.inChannels * s.outChannels + k % s.outChannels;
  });
}

// The product that makes the gradients of all inputs (phase y, phase x).
Product phaseProduct(const ConvShape& s, const Phase& y, const Phase& x, const ImageOf<Bf16>& dy, const uint32_t* packed, const ImageOf<Bf16>& dx) {
  const bool empty = y.taps == 0 || x.taps == 0;
  return {dy.pixel(0, empty ? 0 : y.start, empty ? 0 : x.start), dy.imageStride(), dy.rowStride(), dy.c, dy.rowStride(),
          dx.pixel(0, y.phase, x.phase), dx.imageStride(), s.stride * dx.rowStride(), s.stride * dx.c, y.count, x.count, packed,
          empty ? 0 : y.taps, empty ? 0 : x.taps * dy.c, dx.c};
}

void convInputGradient(const ConvShape& shape, const ImageOf<Bf16>& dy, const float* weight, const ImageOf<Bf16>& dx, float* scratch) {
  const int64_t rows = shape.stride < dx.h ? shape.stride : dx.h, columns = shape.stride < dx.w ? shape.stride : dx.w;
  const auto eachPhase = [&](auto visit) {
    uint32_t* packed = reinterpret_cast<uint32_t*>(scratch);
    for (int64_t py = 0; py < rows; ++py) {
      for (int64_t px = 0; px < columns; ++px) {
        const Phase y(shape, py, dx.h), x(shape, px, dx.w);
        visit(y, x, packed);
        packed += packedSize(y.taps, x.taps * dy.c, dx.c);
      }
    }
  };
  eachPhase([&](const Phase& y, const Phase& x, uint32_t* packed) { packPhase(shape, y, x, weight, packed); });
  const int64_t images = groupSize(dx.h * dx.w, dy.imageStride());
  for (int64_t first = 0; first < dx.n; first += images) {
    const int64_t last = first + images < dx.n ? first + images : dx.n;
    eachPhase([&](const Phase& y, const Phase& x, const uint32_t* packed) { multiply(phaseProduct(shape, y, x, dy, packed, dx), first, last); });
  }
}

}  // namespace

void LETHE_PER_ISA(addConvBf16Kernels)(ImageKernels<Bf16>& table) {
  table.convForward = convForward;
  table.convInputGradient = convInputGradient;
}

// Floats of scratch for both products: of each phase of the input gradient, taps * run pairs are at most its taps plus one pair a row.
int64_t LETHE_PER_ISA(convBf16ScratchFloats)(const ConvShape& s) {
  const int64_t forward = packedSize(s.kernel, s.kernel * s.inChannels, s.outChannels);
  const int64_t phases = s.stride < s.kernel ? s.stride : s.kernel;
  const int64_t backward = paddedChannels(s.inChannels) * (s.kernel * s.kernel * s.outChannels / 2 + s.kernel * phases + 1);
  return forward > backward ? forward : backward;
}

}  // namespace lethe
