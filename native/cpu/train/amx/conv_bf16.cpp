// Convolution forward and input gradient of bf16 images on the tile unit: a tile is 16 output pixels, their inputs are 32 contiguous
// numbers of a kernel row, loaded straight from the image where the pixels are neighbours. Not run on hardware yet.
// A step of 2 x 2 tiles is 4 loads (8 cycles each from the first-level cache) and 4 dot products (16 cycles each): bound by the dots.
#include "cpu/train/conv_bf16.h"

#include "cpu/base/amx/tiles.h"

namespace lethe {
namespace {

constexpr int64_t kDepth = 32;  // numbers of a row of A: one dot product

// `count` <= 32 numbers, then zeros.
LETHE_INLINE void copyPadded(const Bf16* from, int64_t count, uint8_t* to) {
#if defined(LETHE_EMULATE_TILES)
  std::memset(to, 0, kTileRowBytes);
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(Bf16));
#else
  const __mmask32 mask = count >= kDepth ? ~__mmask32{0} : (__mmask32{1} << count) - 1;
  _mm512_store_si512(to, _mm512_maskz_loadu_epi16(mask, from));
#endif
}

// 16 output pixels.
struct PixelTile {
  const Bf16* in[kTileRows];
  Bf16* out[kTileRows];
  bool neighbours;  // inPixel apart
};

// Walks the output pixels of images [first, last); after the last it stays there.
class PixelCursor {
 public:
  PixelCursor(const Product& job, int64_t first, int64_t last) : job_(job), image_(first), last_(last) {}

  bool more() const { return image_ < last_; }

  void take(PixelTile& tile) {
    tile.neighbours = column_ + kTileRows <= job_.w;
    for (int64_t p = 0; p < kTileRows; ++p) {
      if (more() || p == 0) {
        tile.in[p] = job_.in + image_ * job_.inImage + row_ * job_.inRow + column_ * job_.inPixel;
        tile.out[p] = job_.out + image_ * job_.outImage + row_ * job_.outRow + column_ * job_.outPixel;
      } else {
        tile.in[p] = tile.in[p - 1];
        tile.out[p] = tile.out[p - 1];
      }
      if (more()) advance();
    }
  }

 private:
  void advance() {
    if (++column_ < job_.w) return;
    column_ = 0;
    if (++row_ == job_.h) row_ = 0, ++image_;
  }

  const Product& job_;
  int64_t image_, last_, row_ = 0, column_ = 0;
};

struct alignas(64) Scratch {
  uint8_t gathered[4][kTileSize];  // A tiles; two of each pixel tile in turn, so that a load need not wait for the next gathering
  float sums[4][kTileRows][16];
};

template <int Tile>
LETHE_INLINE void loadInputs(TileUnit& unit, const Product& job, const PixelTile& pixels, int64_t offset, int64_t count, uint8_t* gathered) {
  if (pixels.neighbours && count >= kDepth) {
    unit.load<Tile>(pixels.in[0] + offset, job.inPixel * static_cast<int64_t>(sizeof(Bf16)));
    return;
  }
  for (int64_t p = 0; p < kTileRows; ++p) copyPadded(pixels.in[p] + offset, count, gathered + p * kTileRowBytes);
  unit.load<Tile>(gathered, kTileRowBytes);
}

// sums: (Columns, 16 pixels, 16 channels)
template <int Columns>
void storePixels(const PixelTile& pixels, const float (*sums)[kTileRows][16], int64_t first, int64_t count) {
  for (int64_t p = 0; p < kTileRows; ++p) {
    Bf16* to = pixels.out[p] + first;
    for (int64_t column = 0; column < Columns; ++column) {
      const float* from = sums[column][p];
      Bf16 rounded[16];
      for (int64_t c = 0; c < 16; ++c) rounded[c] = from[c];
      const int64_t left = count - 16 * column;
      if (left >= 16) std::memcpy(to + 16 * column, rounded, sizeof rounded);
      else std::memcpy(to + 16 * column, rounded, static_cast<size_t>(left) * sizeof(Bf16));
    }
  }
}

// Columns tiles of 16 channels beside two of pixels.
template <int Columns>
struct TileBlock {
  static constexpr int64_t kWidth = 16 * Columns;
  int64_t first, count;
};

template <int Columns>
__attribute__((noinline)) void sweep(TileUnit& unit, const Product& job, const TileBlock<Columns>& block, int64_t first, int64_t last, int64_t pairs,
                                     Scratch& scratch) {
  constexpr int64_t kStep = 16 * 16 * Columns;  // words of weights of a dot product
  const uint32_t* panel = job.weight + job.taps * pairs * block.first;
  PixelTile pixels[2];
  for (PixelCursor cursor(job, first, last); cursor.more();) {
    cursor.take(pixels[0]);
    const bool both = cursor.more();
    if (both) cursor.take(pixels[1]);
    unit.zero<0>();
    unit.zero<1>();
    unit.zero<2>();
    unit.zero<3>();
    const uint32_t* weight = panel;
    int64_t turn = 0;
    for (int64_t tap = 0; tap < job.taps; ++tap) {
      for (int64_t k = 0; k < job.run; k += kDepth, weight += kStep, turn ^= 1) {
        const int64_t offset = tap * job.tapStep + k, count = job.run - k < kDepth ? job.run - k : kDepth;
        unit.load<6>(weight, 64 * Columns);
        if constexpr (Columns == 2) unit.load<7>(weight + 16, 64 * Columns);
        loadInputs<4>(unit, job, pixels[0], offset, count, scratch.gathered[turn]);
        unit.dotBf16<0, 4, 6>();
        if constexpr (Columns == 2) unit.dotBf16<1, 4, 7>();
        if (both) {
          loadInputs<5>(unit, job, pixels[1], offset, count, scratch.gathered[2 + turn]);
          unit.dotBf16<2, 5, 6>();
          if constexpr (Columns == 2) unit.dotBf16<3, 5, 7>();
        }
      }
    }
    unit.store<0>(scratch.sums[0], 64);
    unit.store<1>(scratch.sums[1], 64);
    unit.store<2>(scratch.sums[2], 64);
    unit.store<3>(scratch.sums[3], 64);
    for (int64_t t = 0; t < (both ? 2 : 1); ++t) {
      storePixels<Columns>(pixels[t], scratch.sums + 2 * t, block.first, block.count);
    }
  }
}

struct TileEngine {
  static constexpr int64_t kPairStep = 16;

  template <typename Visit>
  static LETHE_INLINE void eachBlock(int64_t channels, Visit visit) {
    int64_t c = 0;
    for (; channels - c > 16; c += 32) visit(TileBlock<2>{c, channels - c < 32 ? channels - c : 32});
    if (c < channels) visit(TileBlock<1>{c, channels - c});
  }
  static void multiply(const Product& job, int64_t first, int64_t last) {
    Scratch scratch;
    TileUnit unit{TileConfig()};
    eachBlock(job.channels, [&](auto block) { sweep(unit, job, block, first, last, packedPairs<TileEngine>(job.run), scratch); });
  }
};

}  // namespace

void LETHE_PER_ISA(addConvBf16Kernels)(ImageKernels<Bf16>& table) {
  table.convForward = convForward<TileEngine>;
  table.convInputGradient = convInputGradient<TileEngine>;
}

int64_t LETHE_PER_ISA(convBf16ScratchWords)(const ConvShape& shape) { return productScratch<TileEngine>(shape); }

}  // namespace lethe
