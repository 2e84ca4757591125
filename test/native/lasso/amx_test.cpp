// The tile kernels of the datamodel passes against the portable ones, bit for bit: on emulated tiles everywhere, on the processor's own
// where it has them. First the emulation itself, against products computed by hand.
#define LETHE_EMULATE_TILES
#include "cpu/base/amx/tiles.h"

#include <algorithm>
#include <limits>
#include <random>

#include "base/check.h"
#include "core/base/aligned.h"
#include "lethe/bench/amx_peak.h"
#include "lethe/lasso/kernels.h"

namespace lethe {
void addLassoSums_amx_emulated(LassoKernels& table);
}

using namespace lethe;
using namespace lethe::test;

namespace {

// Two rows of two sums (tile 0), A of 2 x 8 bytes (tile 1), B of 2 x 2 groups of 4 bytes (tile 2).
TileConfig smallTiles() {
  TileConfig config;
  std::fill(config.rowBytes, config.rowBytes + 8, uint16_t{8});
  std::fill(config.rows, config.rows + 8, uint8_t{2});
  return config;
}

void productsByHand() {
  const uint8_t a[2][8] = {{1, 2, 3, 4, 0, 0, 0, 1}, {255, 0, 0, 0, 10, 0, 20, 0}};
  const uint8_t b[2][8] = {{1, 10, 100, 200, 255, 255, 255, 255}, {5, 6, 7, 8, 128, 1, 127, 129}};
  const int32_t start[2][2] = {{1000, -1}, {0, std::numeric_limits<int32_t>::max()}};
  // row 0: 1*1 + 2*10 + 3*100 + 4*200 + 8 = 1129 and 255 * (1+2+3+4) + 129 = 2679
  // row 1: 255 + 10*5 + 20*7 = 445 and 255*255 + 10*128 + 20*127 = 68845, which wraps around
  const int32_t plain[2][2] = {{2129, 2678}, {445, std::numeric_limits<int32_t>::min() + 68844}};
  // signed B: 200 is -56, 255 is -1, 128 is -128, 129 is -127
  // row 0: 1 + 20 + 300 - 224 + 8 = 105 and -10 - 127 = -137; row 1: 445 and -255 - 1280 + 2540 = 1005
  const int32_t withSign[2][2] = {{1105, -138}, {445, std::numeric_limits<int32_t>::min() + 1004}};
  int32_t sums[2][2];
  TileUnit unit(smallTiles());
  unit.load<1>(a, sizeof(a[0]));
  unit.load<2>(b, sizeof(b[0]));
  unit.load<0>(start, sizeof(start[0]));
  unit.dotUnsigned<0, 1, 2>();
  unit.store<0>(sums, sizeof(sums[0]));
  expect(std::memcmp(sums, plain, sizeof(sums)) == 0, "tdpbuud of 2 x 2 sums");
  unit.load<0>(start, sizeof(start[0]));
  unit.dotSigned<0, 1, 2>();
  unit.store<0>(sums, sizeof(sums[0]));
  expect(std::memcmp(sums, withSign, sizeof(sums)) == 0, "tdpbusd of 2 x 2 sums");
  unit.zero<0>();
  unit.store<0>(sums, sizeof(sums[0]));
  expect(std::all_of(sums[0], sums[0] + 4, [](int32_t sum) { return sum == 0; }), "tilezero");
}

// Rows lie a stride apart, and nothing outside the shape of a tile is read or written.
void loadsAndStores() {
  Guarded<uint8_t> from(32 + 8), to(24 + 8);
  for (int64_t k = 0; k < from.size(); ++k) from[k] = static_cast<uint8_t>(k);
  to.fill(77);
  TileUnit unit(smallTiles());
  unit.load<5>(from.data(), 32);
  unit.store<5>(to.data(), 24);
  bool right = to.guardsIntact() && from.guardsIntact();
  for (int64_t k = 0; k < to.size(); ++k) right = right && to[k] == (k < 8 ? k : k < 24 ? 77 : k + 8);
  expect(right, "tile loads and stores with strides");
  uint8_t bytes[64];
  expandBits(0x8000000000000005u, bytes);
  for (int k = 0; k < 64; ++k) right = right && bytes[k] == (k == 0 || k == 2 || k == 63);
  expect(right, "bits to bytes");
}

// A matrix of cache lines with guard lines on both sides.
template <typename Element>
class Lines {
 public:
  explicit Lines(int64_t lines) : lines_(lines), storage_(static_cast<size_t>((lines + 2 * kGuard) * kPassBytes), 0xA5) {}
  Element* data() { return reinterpret_cast<Element*>(storage_.data() + kGuard * kPassBytes); }
  int64_t size() const { return lines_ * kPassBytes / static_cast<int64_t>(sizeof(Element)); }
  bool same(const Lines& other) const { return storage_ == other.storage_; }
  bool guardsIntact() const {
    const auto guard = [](uint8_t byte) { return byte == 0xA5; };
    return std::all_of(storage_.begin(), storage_.begin() + kGuard * kPassBytes, guard) &&
           std::all_of(storage_.end() - kGuard * kPassBytes, storage_.end(), guard);
  }

 private:
  static constexpr int64_t kGuard = 4;
  int64_t lines_;
  AlignedVector<uint8_t> storage_;
};

enum class Kind { ordinary, whole, extreme, edge };

// ordinary: values of 24 bits, as residuals have; whole: the full width; extreme: the ends and -1; edge: where 24 bits end
template <typename Element>
Element draw(Kind kind, std::mt19937_64& random) {
  typedef std::numeric_limits<Element> Limits;
  const Element ends[] = {Limits::min(), Limits::max(), -1, 0, 1, Limits::min()};
  const int32_t edges[] = {-(1 << 23), (1 << 23) - 1, -1, -(1 << 16), 255, -256};
  switch (kind) {
    case Kind::ordinary: return static_cast<Element>(static_cast<int64_t>(random() % (1 << 24)) - (1 << 23));
    case Kind::whole: return static_cast<Element>(random());
    case Kind::extreme: return ends[random() % 6];
    case Kind::edge: return static_cast<Element>(edges[random() % 6]);
  }
  return 0;
}

struct Bits {
  Bits(int64_t rows, int64_t columns, std::mt19937_64& random) : words(static_cast<size_t>(rows / 64 * columns)) {
    for (uint64_t& word : words) word = random();
    // full and empty columns
    for (int64_t b = 0; b < rows / 64; ++b) {
      words[static_cast<size_t>(b * columns)] = ~uint64_t{0};
      words[static_cast<size_t>(b * columns + columns / 2)] = columns > 1 ? 0 : ~uint64_t{0};
    }
    view = {words.data(), columns};
  }
  std::vector<uint64_t> words;
  BitBlocks view;
};

template <typename Element>
void compare(const LassoKernels& kernels, void (*LassoKernels::*pass)(const BitBlocks&, int64_t, const Element*, Element*, void*), int64_t rows, Kind kind,
             const Bits& bits, std::mt19937_64& random, const std::string& what) {
  Lines<Element> values(rows), expected(bits.view.columns), actual(bits.view.columns);
  for (int64_t k = 0; k < values.size(); ++k) values.data()[k] = draw<Element>(kind, random);
  // one value that needs the full width, in the last row
  if (kind == Kind::edge && random() % 2 == 0) values.data()[values.size() - 1] = std::numeric_limits<Element>::min();
  const Lines<Element> before = values;
  const LassoKernels& portable = lassoKernels(Isa::portable);
  Lines<uint8_t> tables(portable.passScratchBytes(rows) / kPassBytes), scratch(kernels.passScratchBytes(rows) / kPassBytes);
  (portable.*pass)(bits.view, rows, values.data(), expected.data(), tables.data());
  (kernels.*pass)(bits.view, rows, values.data(), actual.data(), scratch.data());
  const std::string name =
      what + ", " + std::to_string(rows) + " rows, " + std::to_string(bits.view.columns) + " columns, kind " + std::to_string(static_cast<int>(kind));
  expect(actual.same(expected), name);
  expect(scratch.guardsIntact() && values.same(before), name + ": guard words and input");
}

void againstPortable(const LassoKernels& kernels, const std::string& level) {
  std::mt19937_64 random(7);
  for (int64_t rows : {64, 128, 192, 512, 704, 4032}) {
    for (int64_t columns : {1, 15, 16, 17, 31, 257, 1100}) {
      const Bits bits(rows, columns, random);
      for (Kind kind : {Kind::ordinary, Kind::whole, Kind::extreme, Kind::edge}) {
        if (rows * columns > 2'000'000 && kind != Kind::ordinary && kind != Kind::extreme) continue;  // emulated tiles are slow
        compare<int32_t>(kernels, &LassoKernels::exactSums, rows, kind, bits, random, level + " exactSums");
        compare<int16_t>(kernels, &LassoKernels::screenSums, rows, kind, bits, random, level + " screenSums");
      }
    }
  }
  // more columns than keep their sums in the second-level cache at once
  const Bits wide(576, 4096 + 33, random);
  compare<int32_t>(kernels, &LassoKernels::exactSums, 576, Kind::whole, wide, random, level + " exactSums");
  compare<int32_t>(kernels, &LassoKernels::exactSums, 576, Kind::ordinary, wide, random, level + " exactSums");
  compare<int16_t>(kernels, &LassoKernels::screenSums, 576, Kind::whole, wide, random, level + " screenSums");
}

}  // namespace

int main() {
  productsByHand();
  loadsAndStores();
  LassoKernels emulated{};
  addLassoSums_amx_emulated(emulated);
  againstPortable(emulated, "emulated amx");
  if (availableIsas().back() == Isa::amx) {
    againstPortable(lassoKernels(Isa::amx), "amx");
    expect(measureAmxInt8Peak() > 0, "int8 peak");
  } else {
    expect(measureAmxInt8Peak() == 0, "no int8 peak without amx");
    skip("amx is not available on this processor");
  }
  return finish();
}
