// Convolution weight gradient of bf16 images: X^T dY summed over pairs of neighbouring pixels. The inputs of an output pixel and a kernel
// row are `run` contiguous numbers; those of two neighbours are interleaved, and so are their gradients, for a group of images that stays
// in the L2 cache. dWeight[kernel row] (run, outChannels) is then one product of two packed panels with fp32 sums.
#include "cpu/train/conv_weight_bf16.h"
#include "cpu/base/dot_bf16.h"

namespace lethe {

int64_t LETHE_PER_ISA(convBf16ScratchWords)(const ConvShape&);

namespace {

// One visit: the pairs of a group of images at one kernel row.
struct Visit {
  const uint32_t *x, *dy;
  float* dWeight;  // (run, outChannels)
  int64_t images, pairs, xImage, dyImage, xPair, dyPair, outChannels;
};

template <int Lanes, int Vectors, int Depth>
__attribute__((noinline)) void block(const Visit& visit, int64_t count) {
  Vec<Lanes> sum[Depth][Vectors] = {};
  const int64_t xPair = visit.xPair, dyPair = visit.dyPair;
  for (int64_t i = 0; i < visit.images; ++i) {
    const uint32_t *x = visit.x + i * visit.xImage, *dy = visit.dy + i * visit.dyImage;
#pragma GCC unroll 2
    for (int64_t p = 0; p < visit.pairs; ++p) {
      Word32<Lanes> grad[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) grad[v] = loadPairs<Lanes>(dy + v * Lanes);
#pragma GCC unroll 12
      for (int k = 0; k < Depth; ++k) {
        const Word32<Lanes> value = Word32<Lanes>{} + x[k];
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sum[k][v] = dot<Lanes>(sum[k][v], grad[v], value);
      }
      x += xPair;
      dy += dyPair;
    }
  }
#pragma GCC unroll 12
  for (int k = 0; k < Depth; ++k) {
    float* to = visit.dWeight + k * visit.outChannels;
    if (count == Lanes * Vectors) {
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) store<Lanes>(to + v * Lanes, load<Lanes>(to + v * Lanes) + sum[k][v]);
    } else {
      for (int64_t c = 0; c < count; ++c) to[c] += sum[k][c / Lanes][c % Lanes];
    }
  }
}

template <int Lanes, int Vectors, int Most>
void blockOfDepth(int64_t depth, const Visit& visit, int64_t count) {
  if constexpr (Most > 1) {
    if (depth < Most) return blockOfDepth<Lanes, Vectors, Most - 1>(depth, visit, count);
  }
  block<Lanes, Vectors, Most>(visit, count);
}

constexpr bool kWide = LETHE_VECTOR_BYTES == 64;  // 32 registers

// All k in [0, run) in blocks of nearly equal depth.
template <int Lanes, int Vectors>
void column(Visit visit, const ChannelBlock<Lanes, Vectors>& channels, int64_t run) {
  constexpr int64_t kMost = kWide ? 12 : Vectors == 2 ? 4 : 8;
  visit.dy += channels.first;
  visit.dWeight += channels.first;
  const int64_t blocks = (run + kMost - 1) / kMost;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t from = b * run / blocks, to = (b + 1) * run / blocks;
    Visit part = visit;
    part.x += from;
    part.dWeight += from * visit.outChannels;
    blockOfDepth<Lanes, Vectors, kMost>(to - from, part, channels.count);
  }
}

void convWeightGradient(const ConvShape& shape, const ImageOf<Bf16>& x, const ImageOf<Bf16>& dy, float* dWeight, float* scratch) {
  const Panels panels(shape, dy.h, dy.w, paddedChannels(shape.outChannels));
  uint32_t *xPanel = reinterpret_cast<uint32_t*>(scratch), *dyPanel = xPanel + panels.images * panels.xWords();
  std::memset(dWeight, 0, static_cast<size_t>(shape.kernel * panels.run * shape.outChannels) * sizeof(float));
  for (int64_t first = 0; first < dy.n; first += panels.images) {
    const int64_t images = first + panels.images < dy.n ? panels.images : dy.n - first;
    packImages(shape, panels, x, dy, first, images, xPanel, dyPanel);
    for (int64_t kh = 0; kh < shape.kernel; ++kh) {
      const int64_t row = Panels::rowsBefore(shape, dy.h, kh % shape.stride) + kh / shape.stride;
      const Visit visit{xPanel + row * panels.rowPairs * panels.xPair,
                        dyPanel,
                        dWeight + kh * panels.run * shape.outChannels,
                        images,
                        panels.pairs,
                        panels.xWords(),
                        panels.dyWords(),
                        panels.xPair,
                        panels.dyPair,
                        shape.outChannels};
      eachChannelBlock(shape.outChannels, [&](auto channels) { column(visit, channels, panels.run); });
    }
  }
}

int64_t convScratchFloats(const ConvShape& s, int64_t height, int64_t width) {
  const Panels panels(s, (height + 2 * s.pad - s.kernel) / s.stride + 1, (width + 2 * s.pad - s.kernel) / s.stride + 1, paddedChannels(s.outChannels));
  const int64_t gradient = panels.images * (panels.xWords() + panels.dyWords()), products = LETHE_PER_ISA(convBf16ScratchWords)(s);
  return gradient > products ? gradient : products;
}

}  // namespace

void LETHE_PER_ISA(addConvWeightBf16Kernels)(ImageKernels<Bf16>& table) {
  table.convWeightGradient = convWeightGradient;
  table.convScratchFloats = convScratchFloats;
}

}  // namespace lethe
