// Kernels over bit columns for the datamodel fit: X^T R by tables of partial sums, residuals, Gram counts, coordinate descent.
#include "lethe/lasso_kernels.h"

#include "cpu/simd.h"

namespace lethe {
namespace {

typedef int32_t IntVec __attribute__((vector_size(LETHE_VECTOR_BYTES)));
typedef int32_t IntVecUnaligned __attribute__((vector_size(LETHE_VECTOR_BYTES), aligned(4), may_alias));
constexpr int kLongs = LETHE_VECTOR_BYTES / 8;
typedef int64_t LongVec __attribute__((vector_size(LETHE_VECTOR_BYTES)));
typedef double DoubleVec __attribute__((vector_size(LETHE_VECTOR_BYTES)));
typedef double DoubleVecUnaligned __attribute__((vector_size(LETHE_VECTOR_BYTES), aligned(8), may_alias));

inline __attribute__((always_inline)) IntVec loadInts(const int32_t* from) { return *reinterpret_cast<const IntVecUnaligned*>(from); }
inline __attribute__((always_inline)) void storeInts(int32_t* to, IntVec value) { *reinterpret_cast<IntVecUnaligned*>(to) = value; }

// ---------------------------------------------------------------- X^T R

constexpr int kVectors = kPassLanes / kLanes;
constexpr int64_t kTable = 16 * kPassLanes;  // ints of the table of 4 rows
constexpr int64_t kGroups = 16;              // tables of a block of 64 rows: 16 KB, they stay in the first-level cache

// All 16 subset sums of 4 rows of values: table entry b is the sum of the rows whose bit is set in b.
void fillTable(const int32_t* rows, int32_t* table) {
  for (int64_t l = 0; l < kPassLanes; ++l) table[l] = 0;
  for (int64_t row = 0; row < 4; ++row) {
    const int64_t half = int64_t{1} << row;
    for (int64_t entry = 0; entry < half; ++entry) {
      for (int64_t l = 0; l < kPassLanes; ++l) {
        table[(half + entry) * kPassLanes + l] = table[entry * kPassLanes + l] + rows[row * kPassLanes + l];
      }
    }
  }
}

// Adds a block of 64 rows to the sums of columns [begin, end): one table lookup for 4 rows and all lanes.
void addBlock(const BitColumns& x, int64_t row, int64_t begin, int64_t end, const int32_t* tables, int32_t* sums) {
  constexpr uint64_t kEntry = kPassLanes * sizeof(int32_t);  // bytes; a nibble is shifted straight to its byte offset
  const int64_t stride = x.stride();
  const uint8_t* bits = x.bits + begin * stride + row / 8;
  int32_t* sum = sums + begin * kPassLanes;
  for (int64_t j = begin; j < end; ++j, bits += stride, sum += kPassLanes) {
    uint64_t word;
    std::memcpy(&word, bits, sizeof word);
    IntVec total[kVectors];
    for (int v = 0; v < kVectors; ++v) total[v] = row == 0 ? IntVec{} : loadInts(sum + v * kLanes);
#pragma GCC unroll 16
    for (int64_t group = 0; group < kGroups; ++group) {
      const uint64_t offset = (group < 2 ? word << (6 - 4 * group) : word >> (4 * group - 6)) & (15 * kEntry);
      const int32_t* entry = reinterpret_cast<const int32_t*>(reinterpret_cast<const uint8_t*>(tables + group * kTable) + offset);
      for (int v = 0; v < kVectors; ++v) total[v] += loadInts(entry + v * kLanes);
    }
    for (int v = 0; v < kVectors; ++v) storeInts(sum + v * kLanes, total[v]);
  }
}

void maskedSums(const BitColumns& x, const int32_t* values, int32_t* sums, int32_t* tables) {
  static_assert(kPassLanes == 16 && kTableInts == kGroups * kTable);
  constexpr int64_t kTile = 1024;  // columns whose sums and bits stay in the second-level cache while the row blocks pass
  for (int64_t begin = 0; begin < x.columns; begin += kTile) {
    const int64_t end = begin + kTile < x.columns ? begin + kTile : x.columns;
    for (int64_t row = 0; row < x.rows; row += 4 * kGroups) {
      for (int64_t group = 0; group < kGroups; ++group) fillTable(values + (row + 4 * group) * kPassLanes, tables + group * kTable);
      addBlock(x, row, begin, end, tables, sums);
    }
  }
}

// ---------------------------------------------------------------- residual

template <int Bytes>
struct UnsignedOfBytes;
template <>
struct UnsignedOfBytes<2> { typedef uint16_t type; };
template <>
struct UnsignedOfBytes<4> { typedef uint32_t type; };
template <>
struct UnsignedOfBytes<8> { typedef uint64_t type; };

// Rows of a chunk stay in registers while the columns pass by; a bit becomes a mask by comparison with its own position.
void residual(const BitColumns& x, int64_t from, int64_t to, const double* target, int64_t count, const int32_t* column,
              const double* weight, double* result) {
  constexpr int kSums = 8;
  constexpr int kChunk = kSums * kLongs;  // 16, 32 or 64 rows
  typedef typename UnsignedOfBytes<kChunk / 8>::type Word;
  LongVec bit[kSums];
  for (int i = 0; i < kChunk; ++i) bit[i / kLongs][i % kLongs] = static_cast<int64_t>(uint64_t{1} << i);
  for (int64_t row = from; row < to; row += kChunk) {
    DoubleVec sum[kSums];
    for (int v = 0; v < kSums; ++v) sum[v] = *reinterpret_cast<const DoubleVecUnaligned*>(target + row + v * kLongs);
    for (int64_t k = 0; k < count; ++k) {
      Word word;
      std::memcpy(&word, x.bits + column[k] * x.stride() + row / 8, sizeof word);
      const LongVec bits = LongVec{} + static_cast<int64_t>(word);
      const LongVec w = reinterpret_cast<LongVec>(DoubleVec{} + weight[k]);
      for (int v = 0; v < kSums; ++v) sum[v] -= reinterpret_cast<DoubleVec>(((bits & bit[v]) == bit[v]) & w);
    }
    for (int v = 0; v < kSums; ++v) *reinterpret_cast<DoubleVecUnaligned*>(result + row + v * kLongs) = sum[v];
  }
}

// ---------------------------------------------------------------- Gram counts

void pairCounts(const BitColumns& x, int64_t from, int64_t to, int32_t column, const int32_t* list, int64_t count, int32_t* counts) {
  const int64_t first = from / 64, last = to / 64, words = x.rows / 64;
  const uint64_t* bits = reinterpret_cast<const uint64_t*>(x.bits);
  const uint64_t* a = bits + column * words;
  for (int64_t k = 0; k < count; ++k) {
    const uint64_t* b = bits + list[k] * words;
    int32_t sum = 0;
    for (int64_t i = first; i < last; ++i) sum += __builtin_popcountll(a[i] & b[i]);
    counts[k] = sum;
  }
}

// ---------------------------------------------------------------- coordinate descent

inline __attribute__((always_inline)) void subtract(const float* row, float by, int64_t size, float* gradient) {
  const Vec<kLanes> factor = broadcast<kLanes>(by);
  for (int64_t q = 0; q < size; q += 16) {
    for (int v = 0; v < 16; v += kLanes) store<kLanes>(gradient + q + v, load<kLanes>(gradient + q + v) - factor * load<kLanes>(row + q + v));
  }
}

inline __attribute__((always_inline)) void subtract(const float* row, double by, int64_t size, double* gradient) {
  typedef float FloatHalf __attribute__((vector_size(kLongs * 4), aligned(4), may_alias));
  for (int64_t q = 0; q < size; q += 16) {
    for (int v = 0; v < 16; v += kLongs) {
      const DoubleVec entries = __builtin_convertvector(*reinterpret_cast<const FloatHalf*>(row + q + v), DoubleVec);
      *reinterpret_cast<DoubleVecUnaligned*>(gradient + q + v) = *reinterpret_cast<const DoubleVecUnaligned*>(gradient + q + v) - by * entries;
    }
  }
}

template <typename Real>
Real descendIn(int64_t count, const int32_t* positions, int64_t size, const float* gram, int64_t stride, const float* inverseDiagonal,
               Real lambda, Real* gradient, double* weight) {
  Real largest = 0;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t p = positions[k];
    const float* row = gram + p * stride;
    const double before = weight[p];
    const Real g = gradient[p], diagonal = static_cast<Real>(row[p]), inverse = static_cast<Real>(inverseDiagonal[p]);
    const Real pull = g + diagonal * static_cast<Real>(before);
    // steps, not new values: a fixed point then has |g| = lambda exactly, whatever the rounding of the diagonal
    const Real change = pull > lambda ? (g - lambda) * inverse : pull < -lambda ? (g + lambda) * inverse : static_cast<Real>(-before);
    if (change == 0) continue;
    weight[p] = pull > lambda || pull < -lambda ? before + static_cast<double>(change) : 0.0;
    subtract(row, change, size, gradient);
    const Real moved = (change < 0 ? -change : change) * diagonal;
    largest = moved > largest ? moved : largest;
  }
  return largest;
}

}  // namespace

LassoKernels LETHE_PER_ISA(lassoKernels)() {
  LassoKernels table;
  table.maskedSums = maskedSums;
  table.residual = residual;
  table.pairCounts = pairCounts;
  table.descend = descendIn<float>;
  table.descendPrecise = descendIn<double>;
  return table;
}

}  // namespace lethe
