// Convolution weight gradient of bf16 images on the tile unit, transposed: A is the gradients of 16 output channels at 32 pixels, B the
// interleaved inputs of the same pixels, and the sums are (outChannels, run). Not run on hardware yet.
#include "cpu/train/conv_weight_bf16.h"

#include "cpu/base/amx/tiles.h"

namespace lethe {

int64_t LETHE_PER_ISA(convBf16ScratchWords)(const ConvShape&);

namespace {

constexpr int64_t kTilePairs = 16;             // pairs of pixels of a dot product
constexpr int64_t kTileWords = kTileSize / 4;

int64_t padTo16(int64_t count) { return (count + 15) / 16 * 16; }

// to[j][i] = from[i][j] for 16 x 16 words, by exchanging blocks of 8, 4, 2 and 1.
typedef uint32_t Row __attribute__((vector_size(64), may_alias));
template <uint32_t Half>
LETHE_INLINE void exchange(Row (&rows)[16]) {
  Row low = {}, high = {};
  for (uint32_t l = 0; l < 16; ++l) {
    low[l] = l & Half ? 16 + l - Half : l;
    high[l] = l & Half ? 16 + l : l + Half;
  }
#pragma GCC unroll 16
  for (uint32_t i = 0; i < 16; ++i) {
    if (i & Half) continue;
    const Row a = rows[i], b = rows[i + Half];
    rows[i] = __builtin_shuffle(a, b, low);
    rows[i + Half] = __builtin_shuffle(a, b, high);
  }
}
void transpose(const uint32_t* from, int64_t stride, int64_t count, uint32_t* to) {
  typedef uint32_t Unaligned __attribute__((vector_size(64), aligned(4), may_alias));
  Row rows[16];
  for (int64_t i = 0; i < 16; ++i) rows[i] = i < count ? *reinterpret_cast<const Unaligned*>(from + i * stride) : Row{};
  exchange<8>(rows);
  exchange<4>(rows);
  exchange<2>(rows);
  exchange<1>(rows);
  for (int64_t j = 0; j < 16; ++j) *reinterpret_cast<Unaligned*>(to + j * 16) = rows[j];
}

// The packed group: inputs as Panels says, and for every image, block of 16 output channels and 16 pairs an A tile of gradients.
struct Group {
  const Panels& panels;
  const uint32_t *x, *tiles;
  int64_t images, steps, blocks;  // steps: dot products of an image, ceil(pairs / 16); blocks of output channels

  const uint32_t* tile(int64_t image, int64_t block, int64_t step) const { return tiles + ((image * blocks + block) * steps + step) * kTileWords; }
};

// B of the pairs of a step: 16 words of each. A short step is copied, since the gradients' zeros may not meet NaN.
template <int Tile>
LETHE_INLINE void loadPairs(TileUnit& unit, const uint32_t* from, int64_t stride, int64_t pairs, uint32_t* padded) {
  if (pairs >= kTilePairs) {
    unit.load<Tile>(from, stride * 4);
    return;
  }
  std::memset(padded, 0, kTileSize);
  for (int64_t p = 0; p < pairs; ++p) std::memcpy(padded + p * 16, from + p * stride, 64);
  unit.load<Tile>(padded, 64);
}

struct alignas(64) Scratch {
  uint32_t padded[2][kTileWords];
  float sums[4][kTileRows][16];
};

// Adds sums (16 channels, 16 inputs) to dWeight (run, outChannels).
void addTransposed(const float (*sums)[16], int64_t inputs, int64_t channels, int64_t outChannels, float* dWeight) {
  for (int64_t k = 0; k < inputs && k < 16; ++k) {
    for (int64_t c = 0; c < channels && c < 16; ++c) dWeight[k * outChannels + c] += sums[c][k];
  }
}

// Channels [16 block, 16 (block + Rows)) and inputs [input, input + 32) of the kernel row whose first input row is `row`.
template <int Rows>
__attribute__((noinline)) void addProduct(TileUnit& unit, const Group& group, int64_t row, int64_t block, int64_t input, int64_t outChannels, Scratch& scratch,
                                          float* dWeight) {
  const Panels& panels = group.panels;
  const int64_t run = panels.run, stride = panels.xPair;
  unit.zero<0>();
  unit.zero<1>();
  unit.zero<2>();
  unit.zero<3>();
  for (int64_t image = 0; image < group.images; ++image) {
    const uint32_t* x = group.x + image * panels.xWords() + row * panels.rowPairs * stride + input;
    for (int64_t step = 0; step < group.steps; ++step, x += kTilePairs * stride) {
      const int64_t pairs = panels.pairs - step * kTilePairs;
      unit.load<4>(group.tile(image, block, step), kTileRowBytes);
      loadPairs<6>(unit, x, stride, pairs, scratch.padded[0]);
      loadPairs<7>(unit, x + 16, stride, pairs, scratch.padded[1]);
      unit.dotBf16<0, 4, 6>();
      unit.dotBf16<1, 4, 7>();
      if constexpr (Rows == 2) {
        unit.load<5>(group.tile(image, block + 1, step), kTileRowBytes);
        unit.dotBf16<2, 5, 6>();
        unit.dotBf16<3, 5, 7>();
      }
    }
  }
  unit.store<0>(scratch.sums[0], 64);
  unit.store<1>(scratch.sums[1], 64);
  unit.store<2>(scratch.sums[2], 64);
  unit.store<3>(scratch.sums[3], 64);
  for (int64_t r = 0; r < Rows; ++r) {
    const int64_t channel = 16 * (block + r);
    float* to = dWeight + input * outChannels + channel;
    addTransposed(scratch.sums[2 * r], run - input, outChannels - channel, outChannels, to);
    addTransposed(scratch.sums[2 * r + 1], run - input - 16, outChannels - channel, outChannels, to + 16 * outChannels);
  }
}

constexpr int64_t kSlackWords = 32;  // tiles reach beyond the last input of a row

void convWeightGradient(const ConvShape& shape, const ImageOf<Bf16>& x, const ImageOf<Bf16>& dy, float* dWeight, float* scratch) {
  const Panels panels(shape, dy.h, dy.w, padTo16(shape.outChannels));
  const int64_t steps = padTo16(panels.pairs) / 16, blocks = panels.channels / 16;
  uint32_t *xPanel = reinterpret_cast<uint32_t*>(scratch), *dyPanel = xPanel + panels.images * panels.xWords() + kSlackWords;
  uint32_t* tiles = dyPanel + panels.images * panels.dyWords();
  std::memset(dWeight, 0, static_cast<size_t>(shape.kernel * panels.run * shape.outChannels) * sizeof(float));
  for (int64_t first = 0; first < dy.n; first += panels.images) {
    const Group group{panels, xPanel, tiles, first + panels.images < dy.n ? panels.images : dy.n - first, steps, blocks};
    packImages(shape, panels, x, dy, first, group.images, xPanel, dyPanel);
    uint32_t* to = tiles;
    for (int64_t image = 0; image < group.images; ++image) {
      for (int64_t block = 0; block < blocks; ++block) {
        for (int64_t step = 0; step < steps; ++step, to += kTileWords) {
          transpose(dyPanel + image * panels.dyWords() + step * kTilePairs * panels.dyPair + block * 16, panels.dyPair, panels.pairs - step * kTilePairs, to);
        }
      }
    }
    Scratch sums;
    TileUnit unit{TileConfig()};
    for (int64_t kh = 0; kh < shape.kernel; ++kh) {
      const int64_t row = Panels::rowsBefore(shape, dy.h, kh % shape.stride) + kh / shape.stride;
      float* rowGradient = dWeight + kh * panels.run * shape.outChannels;
      for (int64_t block = 0; block < blocks; block += 2) {
        for (int64_t input = 0; input < panels.run; input += 32) {
          if (block + 1 < blocks) addProduct<2>(unit, group, row, block, input, shape.outChannels, sums, rowGradient);
          else addProduct<1>(unit, group, row, block, input, shape.outChannels, sums, rowGradient);
        }
      }
    }
  }
}

int64_t convScratchFloats(const ConvShape& s, int64_t height, int64_t width) {
  const Panels panels(s, (height + 2 * s.pad - s.kernel) / s.stride + 1, (width + 2 * s.pad - s.kernel) / s.stride + 1, padTo16(s.outChannels));
  const int64_t tiles = padTo16(panels.pairs) * panels.channels;
  const int64_t gradient = panels.images * (panels.xWords() + panels.dyWords() + tiles) + kSlackWords;
  const int64_t products = LETHE_PER_ISA(convBf16ScratchWords)(s);
  return gradient > products ? gradient : products;
}

}  // namespace

void LETHE_PER_ISA(addConvWeightBf16Kernels)(ImageKernels<Bf16>& table) {
  table.convWeightGradient = convWeightGradient;
  table.convScratchFloats = convScratchFloats;
}

}  // namespace lethe
