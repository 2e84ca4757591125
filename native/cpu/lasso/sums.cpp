// X^T R over bit columns by tables of partial sums ("four Russians"), in whole numbers modulo 2^16 or 2^32: every instruction set gives
// the same bytes. A table entry is a cache line, the sums of 5 rows for all lanes; the tables of 64 rows (25 KB) stay in the first-level cache.
#include "cpu/lasso/ops.h"

namespace lethe {
namespace {

// Unsigned, since sums wrap around.
template <typename Element>
struct Line {
  typedef Element type __attribute__((vector_size(LETHE_VECTOR_BYTES)));
  typedef Element aligned __attribute__((vector_size(LETHE_VECTOR_BYTES), may_alias));
};

constexpr int kVectors = kPassBytes / LETHE_VECTOR_BYTES;
constexpr int kTableRows = 5;
constexpr int kTables = 12;   // of 5 rows; one more of the last 4 completes a block of 64 rows
constexpr int kLastRows = 64 - kTables * kTableRows;
constexpr int64_t kTableBytes = (int64_t{1} << kTableRows) * kPassBytes;
constexpr int64_t kBlockBytes = kTables * kTableBytes + (int64_t{1} << kLastRows) * kPassBytes;

// Table entry b is the sum of the rows whose bit is set in b.
template <int Rows, typename Element>
inline __attribute__((always_inline)) void fillTable(const Element* rows, Element* table) {
  typedef typename Line<Element>::type Vector;
  typedef typename Line<Element>::aligned Aligned;
  constexpr int64_t kLine = kPassBytes / sizeof(Element), kStep = LETHE_VECTOR_BYTES / sizeof(Element);
  for (int64_t lane = 0; lane < kLine; lane += kStep) {
    Vector entry[1 << Rows];
    entry[0] = Vector{};
    for (int row = 0; row < Rows; ++row) {
      const Vector value = *reinterpret_cast<const Aligned*>(rows + row * kLine + lane);
      for (int low = 0; low < 1 << row; ++low) entry[(1 << row) + low] = entry[low] + value;
    }
    for (int e = 0; e < 1 << Rows; ++e) *reinterpret_cast<Aligned*>(table + e * kLine + lane) = entry[e];
  }
}

// Adds a block of 64 rows to the sums of columns [begin, end): one table lookup for 5 rows and all lanes.
template <typename Element>
void addBlock(const BitBlocks& x, int64_t row, int64_t begin, int64_t end, const Element* tables, Element* sums) {
  typedef typename Line<Element>::type Vector;
  typedef typename Line<Element>::aligned Aligned;
  constexpr int64_t kLine = kPassBytes / sizeof(Element);
  static_assert(kPassBytes == 64);
  const uint64_t* words = x.words + row / 64 * x.columns;
  const uint8_t* table = reinterpret_cast<const uint8_t*>(tables);
  Element* sum = sums + begin * kLine;
  for (int64_t j = begin; j < end; ++j, sum += kLine) {
    const uint64_t word = words[j];
    Vector total[kVectors];
    for (int v = 0; v < kVectors; ++v) total[v] = row == 0 ? Vector{} : reinterpret_cast<const Aligned*>(sum)[v];
#pragma GCC unroll 13
    for (int t = 0; t <= kTables; ++t) {
      // the bits of a table's rows are turned straight to the byte offset of their entry (a rotation needs no copy of the word)
      const int shift = (t * kTableRows + 58) % 64;
      const uint64_t entries = t < kTables ? kTableBytes : kBlockBytes - kTables * kTableBytes;
      const uint64_t offset = (word >> shift | word << (64 - shift)) & (entries - kPassBytes);
      const Aligned* entry = reinterpret_cast<const Aligned*>(table + t * kTableBytes + offset);
      for (int v = 0; v < kVectors; ++v) total[v] += entry[v];
    }
    for (int v = 0; v < kVectors; ++v) reinterpret_cast<Aligned*>(sum)[v] = total[v];
  }
}

template <typename Element>
void maskedSums(const BitBlocks& x, int64_t rows, const Element* values, Element* sums, void* scratch) {
  constexpr int64_t kLine = kPassBytes / sizeof(Element);
  constexpr int64_t kTile = 2048;  // columns whose sums stay in the second-level cache while the row blocks pass
  Element* tables = static_cast<Element*>(scratch);
  for (int64_t begin = 0; begin < x.columns; begin += kTile) {
    const int64_t end = begin + kTile < x.columns ? begin + kTile : x.columns;
    for (int64_t row = 0; row < rows; row += 64) {
      const Element* from = values + row * kLine;
      for (int t = 0; t < kTables; ++t) fillTable<kTableRows>(from + t * kTableRows * kLine, tables + t * kTableBytes / sizeof(Element));
      fillTable<kLastRows>(from + kTables * kTableRows * kLine, tables + kTables * kTableBytes / sizeof(Element));
      addBlock(x, row, begin, end, tables, sums);
    }
  }
}

int64_t passScratchBytes(int64_t) { return kBlockBytes; }

void exactSums(const BitBlocks& x, int64_t rows, const int32_t* values, int32_t* sums, void* scratch) {
  maskedSums(x, rows, reinterpret_cast<const uint32_t*>(values), reinterpret_cast<uint32_t*>(sums), scratch);
}

void screenSums(const BitBlocks& x, int64_t rows, const int16_t* values, int16_t* sums, void* scratch) {
  maskedSums(x, rows, reinterpret_cast<const uint16_t*>(values), reinterpret_cast<uint16_t*>(sums), scratch);
}

int64_t screen(int64_t columns, const int16_t* sums, const int16_t* thresholds, ScreenHit* hits) {
  typedef int16_t Vector __attribute__((vector_size(LETHE_VECTOR_BYTES)));
  typedef int16_t Aligned __attribute__((vector_size(LETHE_VECTOR_BYTES), may_alias));
  typedef uint64_t Words __attribute__((vector_size(LETHE_VECTOR_BYTES)));
  Vector high[kVectors], low[kVectors];
  for (int64_t l = 0; l < kScreenLanes; ++l) {
    reinterpret_cast<int16_t*>(high)[l] = static_cast<int16_t>(thresholds[l] - 1);
    reinterpret_cast<int16_t*>(low)[l] = static_cast<int16_t>(1 - thresholds[l]);
  }
  int64_t count = 0;
  for (int64_t j = 0; j < columns; ++j) {
    const Aligned* sum = reinterpret_cast<const Aligned*>(sums + j * kScreenLanes);
    Vector beyond[kVectors];
    Vector any = Vector{};
    for (int v = 0; v < kVectors; ++v) any |= beyond[v] = (sum[v] > high[v]) | (sum[v] < low[v]);
    const Words words = reinterpret_cast<Words>(any);
    uint64_t seen = 0;
    for (size_t w = 0; w < sizeof(Words) / sizeof(uint64_t); ++w) seen |= words[w];
    if (seen == 0) continue;  // most columns
    uint32_t lanes = 0;
    for (int64_t l = 0; l < kScreenLanes; ++l) lanes |= static_cast<uint32_t>(reinterpret_cast<const int16_t*>(beyond)[l] & 1) << l;
    hits[count++] = {static_cast<int32_t>(j), lanes};
  }
  return count;
}

}  // namespace

void LETHE_PER_ISA(addLassoSums)(LassoKernels& table) {
  table.passScratchBytes = passScratchBytes;
  table.exactSums = exactSums;
  table.screenSums = screenSums;
  table.screen = screen;
}

}  // namespace lethe
