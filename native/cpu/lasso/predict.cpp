// Kernels of predictions by datamodels: masked sums in double. Dense weights go through tables of the 16 row set sums of four examples,
// eight targets wide; sparse ones through the bit columns of their examples, many models wide. Only additions: nothing to contract.
#include "lethe/lasso/predict.h"

#include "cpu/base/simd.h"

namespace lethe {
namespace {

constexpr int kDoubles = LETHE_VECTOR_BYTES / 8;
typedef double DoubleVec __attribute__((vector_size(LETHE_VECTOR_BYTES)));
typedef double DoubleVecUnaligned __attribute__((vector_size(LETHE_VECTOR_BYTES), aligned(8), may_alias));
typedef int64_t LongVec __attribute__((vector_size(LETHE_VECTOR_BYTES)));

inline __attribute__((always_inline)) DoubleVec loadDoubles(const double* from) { return *reinterpret_cast<const DoubleVecUnaligned*>(from); }
inline __attribute__((always_inline)) void storeDoubles(double* to, DoubleVec value) { *reinterpret_cast<DoubleVecUnaligned*>(to) = value; }

constexpr int kVectors = kPredictLanes / kDoubles;
constexpr int64_t kEntryTable = 16 * kPredictLanes;  // doubles of the table of one group of four examples

// Table entry e is the sum of the examples whose bit is set in e, the lowest bit added last.
void fillTable(const double* weights, double* table) {
  for (int64_t l = 0; l < kPredictLanes; ++l) table[l] = 0;
  for (int64_t example = 0; example < 4; ++example) {
    const int64_t half = int64_t{1} << example;
    for (int64_t entry = 0; entry < half; ++entry) {
      for (int64_t l = 0; l < kPredictLanes; ++l) {
        table[(half + entry) * kPredictLanes + l] = weights[example * kPredictLanes + l] + table[entry * kPredictLanes + l];
      }
    }
  }
}

void addWord(const uint64_t* words, int64_t count, const double* weights, double* tables, double* sums) {
  static_assert(kPredictTable == 16 * kEntryTable);
  for (int64_t group = 0; group < 16; ++group) fillTable(weights + group * 4 * kPredictLanes, tables + group * kEntryTable);
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t word = words[i];
    DoubleVec total[kVectors];
    for (int v = 0; v < kVectors; ++v) total[v] = loadDoubles(sums + i * kPredictLanes + v * kDoubles);
#pragma GCC unroll 16
    for (int64_t group = 0; group < 16; ++group) {
      const double* entry = tables + group * kEntryTable + ((word >> (4 * group)) & 15) * kPredictLanes;
      for (int v = 0; v < kVectors; ++v) total[v] += loadDoubles(entry + v * kDoubles);
    }
    for (int v = 0; v < kVectors; ++v) storeDoubles(sums + i * kPredictLanes + v * kDoubles, total[v]);
  }
}

template <int Bytes>
struct UnsignedOfBytes;
template <>
struct UnsignedOfBytes<2> {
  typedef uint16_t type;
};
template <>
struct UnsignedOfBytes<4> {
  typedef uint32_t type;
};
template <>
struct UnsignedOfBytes<8> {
  typedef uint64_t type;
};

// The sums of a chunk of models stay in registers while the columns pass by; a bit becomes a mask by comparison with its own position.
void addColumns(const uint64_t* columns, int64_t words, int64_t count, const int32_t* column, const float* weight, double* sums) {
  constexpr int kSums = 8;
  constexpr int kChunk = kSums * kDoubles;  // 16, 32 or 64 models
  typedef typename UnsignedOfBytes<kChunk / 8>::type Word;
  LongVec bit[kSums];
  for (int i = 0; i < kChunk; ++i) bit[i / kDoubles][i % kDoubles] = static_cast<int64_t>(uint64_t{1} << i);
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(columns);
  for (int64_t model = 0; model < 64 * words; model += kChunk) {
    DoubleVec sum[kSums];
    for (int v = 0; v < kSums; ++v) sum[v] = loadDoubles(sums + model + v * kDoubles);
    for (int64_t k = 0; k < count; ++k) {
      Word word;
      std::memcpy(&word, bytes + column[k] * words * 8 + model / 8, sizeof word);
      const LongVec bits = LongVec{} + static_cast<int64_t>(word);
      const LongVec w = reinterpret_cast<LongVec>(DoubleVec{} + static_cast<double>(weight[k]));
      for (int v = 0; v < kSums; ++v) sum[v] += reinterpret_cast<DoubleVec>(((bits & bit[v]) == bit[v]) & w);
    }
    for (int v = 0; v < kSums; ++v) storeDoubles(sums + model + v * kDoubles, sum[v]);
  }
}

}  // namespace

PredictKernels LETHE_PER_ISA(predictKernels)() { return PredictKernels{addWord, addColumns}; }

}  // namespace lethe
