// Loops that do nothing but one kind of work, as fast as this instruction set can: the measured peaks.
#include "lethe/bench/peaks.h"

#include "cpu/base/dot_bf16.h"

namespace lethe {
namespace {

// enough independent chains to cover latency x throughput, within 16 registers (AVX-512: 32)
constexpr int kChains = LETHE_VECTOR_BYTES == 64 ? 24 : 12;

float multiplyAdd(int64_t loops, float factor, float term) {
  Vec<kLanes> sum[kChains];
  const Vec<kLanes> by = broadcast<kLanes>(factor), plus = broadcast<kLanes>(term);
  for (int k = 0; k < kChains; ++k) sum[k] = broadcast<kLanes>(static_cast<float>(k));
  for (int64_t i = 0; i < loops; ++i) {
#pragma GCC unroll 24
    for (int k = 0; k < kChains; ++k) sum[k] = sum[k] * by + plus;
  }
  float total = 0;
  for (int k = 0; k < kChains; ++k) {
    for (int lane = 0; lane < kLanes; ++lane) total += sum[k][lane];
  }
  return total;
}

#if defined(__AVX512BF16__)
float dotBf16(int64_t loops) {
  Vec<kLanes> sum[kChains];
  const Word32<kLanes> a = Word32<kLanes>{} + 0x3F803F80u, b = Word32<kLanes>{} + 0x3C003C00u;
  for (int k = 0; k < kChains; ++k) sum[k] = broadcast<kLanes>(static_cast<float>(k));  // equal chains would be computed once
  for (int64_t i = 0; i < loops; ++i) {
#pragma GCC unroll 24
    for (int k = 0; k < kChains; ++k) sum[k] = dot<kLanes>(sum[k], a, b);
  }
  float total = 0;
  for (int k = 0; k < kChains; ++k) total += sum[k][0];
  return total;
}
#endif

int64_t popcount(const uint64_t* a, const uint64_t* b, int64_t words) {
  int64_t sum[8] = {};
  for (int64_t i = 0; i < words; i += 8) {
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) sum[k] += __builtin_popcountll(a[i + k] & b[i + k]);
  }
  return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

// A plain loop: some C libraries' memcpy is several times slower for sizes and alignments that its processor dislikes.
void copy(const float* from, float* to, int64_t count) {
  constexpr int64_t kStep = 4 * kLanes;
  for (int64_t i = 0; i < count; i += kStep) {
#pragma GCC unroll 4
    for (int64_t k = 0; k < kStep; k += kLanes) store<kLanes>(to + i + k, load<kLanes>(from + i + k));
  }
}

}  // namespace

PeakKernels LETHE_PER_ISA(peakKernels)() {
  PeakKernels table;
  table.operationsPerLoop = 2 * kChains * kLanes;
  table.multiplyAdd = multiplyAdd;
#if defined(__AVX512BF16__)
  table.dotBf16 = dotBf16;
#endif
  table.popcount = popcount;
  table.copy = copy;
  return table;
}

}  // namespace lethe
