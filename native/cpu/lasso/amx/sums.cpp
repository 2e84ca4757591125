// X^T R over bit columns on the tile unit: A is 16 columns x 64 rows of X as bytes 0 and 1, B the values of 64 rows split into limbs of
// 8 bits, and every limb has its own 32-bit sums, which are put together modulo 2^16 or 2^32. All of it wraps around, so that the result
// is the same as that of the other levels bit for bit, however many rows there are. Not run on hardware yet.
#include "cpu/base/amx/tiles.h"
#include "cpu/lasso/ops.h"

namespace lethe {
namespace {

constexpr int64_t kStepRows = 64;      // rows of one dot product
constexpr int64_t kGroup = kTileRows;  // columns of one
constexpr int64_t kAhead = 2;          // steps between writing an expanded tile and loading it
constexpr int64_t kRing = 4;           // expanded tiles, a power of 2 above kAhead
constexpr int64_t kMaxTiles = 4;       // B tiles of a step: 4 limbs of 16 lanes, or 2 limbs of 32
// Steps of a block: 32 KiB of limbs, which with the expanded tiles and the sums of a group fit the first-level cache (48 KiB).
constexpr int64_t kBlockSteps = 8;
constexpr int64_t kColumnTile = 4096;  // columns whose sums (256 KiB) stay in the second-level cache while the blocks pass

// Scratch of a pass; the limbs of all rows follow.
struct Scratch {
  uint8_t expanded[kRing][kTileSize];
  uint32_t sums[kMaxTiles][kTileRows][16];
};

int64_t passScratchBytes(int64_t rows) { return static_cast<int64_t>(sizeof(Scratch)) + rows / kStepRows * kMaxTiles * kTileSize; }

// Vectors of 16 lanes: left to itself, the compiler transposes limbs where it should load them.
typedef uint32_t Words __attribute__((vector_size(64), may_alias));
template <typename Element>
struct Lanes {
  typedef Element type __attribute__((vector_size(16 * sizeof(Element)), may_alias));
};

// A line of values is one or two parts of 16 lanes; a part has Tiles / kParts limbs, lowest first.
template <typename Element>
constexpr int64_t kParts = kPassBytes / static_cast<int64_t>(sizeof(Element)) / 16;

// Limbs in the order that dot products read: byte 4 l + i of row q is a limb of lane l of value row 4 q + i.
template <typename Element, int Tiles>
void pack(const Element* values, int64_t rows, uint8_t* panel) {
  typedef typename Lanes<Element>::type Part;
  constexpr int64_t kLine = kPassBytes / sizeof(Element), kLimbs = Tiles / kParts<Element>;
  for (int64_t row = 0; row < rows; row += 4) {
    uint8_t* step = panel + row / kStepRows * Tiles * kTileSize + row % kStepRows / 4 * kTileRowBytes;
    for (int64_t tile = 0; tile < Tiles; ++tile) {
      const Element* from = values + row * kLine + tile / kLimbs * 16;
      const uint32_t shift = static_cast<uint32_t>(tile % kLimbs * 8);
      Words line = {};
      for (uint32_t i = 0; i < 4; ++i) {
        const Words part = __builtin_convertvector(*reinterpret_cast<const Part*>(from + i * kLine), Words);
        line |= (part >> shift & 255u) << (8 * i);
      }
      *reinterpret_cast<Words*>(step + tile * kTileSize) = line;
    }
  }
}

// The last group of columns, fewer than 16. Apart, so that the loop of full groups keeps its registers.
__attribute__((noinline)) void expandPart(const uint64_t* words, int64_t columns, uint8_t* to) {
  for (int64_t j = 0; j < kGroup; ++j) expandBits(j < columns ? words[j] : 0, to + j * kTileRowBytes);
}

// Expands the A tiles of a block one after the other, in the order of their use, into the ring.
class Expander {
 public:
  LETHE_INLINE Expander(const uint64_t* words, int64_t stride, int64_t columns, int64_t steps, uint8_t* ring)
      : from_(words), stride_(stride), columns_(columns), steps_(steps), left_(steps), ring_(ring) {}

  LETHE_INLINE void next() {
    if (columns_ <= 0) return;
    uint8_t* to = ring_ + slot_;
    if (columns_ >= kGroup) {
#pragma GCC unroll 16
      for (int64_t j = 0; j < kGroup; ++j) expandBits(from_[j], to + j * kTileRowBytes);
    } else {
      expandPart(from_, columns_, to);
    }
    slot_ = (slot_ + kTileSize) % (kRing * kTileSize);
    from_ += stride_;
    if (--left_ == 0) {
      left_ = steps_;
      from_ += kGroup - steps_ * stride_;
      columns_ -= kGroup;
    }
  }

 private:
  const uint64_t* from_;
  int64_t stride_, columns_, steps_, left_;
  uint8_t* ring_;
  uint64_t slot_ = 0;
};

// Puts the limb sums of a group of columns together.
template <typename Element, int Tiles>
LETHE_INLINE void finish(const uint32_t (*limbs)[kTileRows][16], int64_t columns, bool first, Element* sums) {
  typedef typename Lanes<Element>::type Part;
  constexpr int64_t kLimbs = Tiles / kParts<Element>;
  Part* to = reinterpret_cast<Part*>(sums);
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t part = 0; part < kParts<Element>; ++part, ++to) {
      Words sum = {};
      for (int64_t limb = 0; limb < kLimbs; ++limb) {
        sum += *reinterpret_cast<const Words*>(limbs[part * kLimbs + limb][j]) << static_cast<uint32_t>(8 * limb);
      }
      const Part narrow = __builtin_convertvector(sum, Part);
      *to = first ? narrow : *to + narrow;
    }
  }
}

// Adds a block of rows to the sums of some columns.
// A step of 4 tiles is 5 tile loads (8 cycles each, all from the first-level cache), 4 dot products (16 cycles each, 4 independent chains
// of latency 52) and 66 others (48 expand bits): bound by the dot products, 64 cycles; expected 75 % of the int8 peak with the epilogue.
template <typename Element, int Tiles>
__attribute__((noinline)) void addBlock(TileUnit& unit, const uint64_t* words, int64_t stride, int64_t columns, int64_t steps, bool first, const uint8_t* panel,
                                        Scratch& scratch, Element* sums) {
  constexpr int64_t kLine = kPassBytes / sizeof(Element);
  uint8_t* ring = scratch.expanded[0];
  Expander ahead(words, stride, columns, steps, ring);
  for (int64_t k = 0; k < kAhead; ++k) ahead.next();
  uint64_t slot = 0;
  for (int64_t column = 0; column < columns; column += kGroup) {
    unit.zero<0>();
    unit.zero<1>();
    unit.zero<2>();
    if constexpr (Tiles == 4) unit.zero<3>();
    const uint8_t* b = panel;
    for (int64_t step = 0; step < steps; ++step, b += Tiles * kTileSize) {
      unit.load<4>(ring + slot, kTileRowBytes);
      slot = (slot + kTileSize) % (kRing * kTileSize);
      unit.load<5>(b, kTileRowBytes);
      unit.dotUnsigned<0, 4, 5>();
      unit.load<6>(b + kTileSize, kTileRowBytes);
      unit.dotUnsigned<1, 4, 6>();
      unit.load<7>(b + 2 * kTileSize, kTileRowBytes);
      if constexpr (Tiles == 4) {
        unit.dotUnsigned<2, 4, 7>();
        unit.load<5>(b + 3 * kTileSize, kTileRowBytes);
        unit.dotUnsigned<3, 4, 5>();
      } else {
        unit.dotSigned<2, 4, 7>();  // 3 limbs stand for 32 bits
      }
      ahead.next();
    }
    unit.store<0>(scratch.sums[0], kTileRowBytes);
    unit.store<1>(scratch.sums[1], kTileRowBytes);
    unit.store<2>(scratch.sums[2], kTileRowBytes);
    if constexpr (Tiles == 4) unit.store<3>(scratch.sums[3], kTileRowBytes);
    finish<Element, Tiles>(scratch.sums, columns - column < kGroup ? columns - column : kGroup, first, sums + column * kLine);
  }
}

template <typename Element, int Tiles>
void tileSums(const BitBlocks& x, int64_t rows, const Element* values, Element* sums, void* memory) {
  Scratch& scratch = *static_cast<Scratch*>(memory);
  uint8_t* panel = reinterpret_cast<uint8_t*>(&scratch + 1);
  pack<Element, Tiles>(values, rows, panel);
  const int64_t allSteps = rows / kStepRows;
  TileUnit unit{TileConfig()};
  for (int64_t begin = 0; begin < x.columns; begin += kColumnTile) {
    const int64_t columns = begin + kColumnTile < x.columns ? kColumnTile : x.columns - begin;
    for (int64_t step = 0; step < allSteps; step += kBlockSteps) {
      const int64_t steps = step + kBlockSteps < allSteps ? kBlockSteps : allSteps - step;
      addBlock<Element, Tiles>(unit, x.words + step * x.columns + begin, x.columns, columns, steps, step == 0, panel + step * Tiles * kTileSize, scratch,
                               sums + begin * kPassBytes / static_cast<int64_t>(sizeof(Element)));
    }
  }
}

// Residuals whose absolute sum is below 2^31 nearly always have single values below 2^23, and three limbs take a quarter less time.
void exactSums(const BitBlocks& x, int64_t rows, const int32_t* values, int32_t* sums, void* scratch) {
  const uint32_t* from = reinterpret_cast<const uint32_t*>(values);
  uint32_t* to = reinterpret_cast<uint32_t*>(sums);
  uint32_t beyond = 0;
  for (int64_t k = 0; k < rows * kExactLanes; ++k) beyond |= (from[k] + (1u << 23)) >> 24;
  if (beyond == 0) {
    tileSums<uint32_t, 3>(x, rows, from, to, scratch);
  } else {
    tileSums<uint32_t, 4>(x, rows, from, to, scratch);
  }
}

void screenSums(const BitBlocks& x, int64_t rows, const int16_t* values, int16_t* sums, void* scratch) {
  tileSums<uint16_t, 4>(x, rows, reinterpret_cast<const uint16_t*>(values), reinterpret_cast<uint16_t*>(sums), scratch);
}

}  // namespace

void LETHE_PER_ISA(addLassoSums)(LassoKernels& table) {
  table.passScratchBytes = passScratchBytes;
  table.exactSums = exactSums;
  table.screenSums = screenSums;
}

}  // namespace lethe
