// Residuals and Gram counts over bit columns.
#include "cpu/lasso/ops.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace lethe {
namespace {

template <int Bytes>
struct Integer;
template <>
struct Integer<2> {
  typedef int16_t type;
};
template <>
struct Integer<4> {
  typedef int32_t type;
};
template <>
struct Integer<8> {
  typedef int64_t type;
};

// sum - w in the lanes whose bit is set.
template <typename Vector, typename Mask>
inline __attribute__((always_inline)) Vector subtractWhere(Vector sum, Mask bits, Mask bit, Vector w) {
#if defined(__AVX512F__)  // the compiler makes no masked subtraction of a comparison
  if constexpr (sizeof(sum[0]) == 4) {
    const __mmask16 set = _mm512_test_epi32_mask(reinterpret_cast<__m512i>(bits), reinterpret_cast<__m512i>(bit));
    return reinterpret_cast<Vector>(_mm512_mask_sub_ps(reinterpret_cast<__m512>(sum), set, reinterpret_cast<__m512>(sum), reinterpret_cast<__m512>(w)));
  } else {
    const __mmask8 set = _mm512_test_epi64_mask(reinterpret_cast<__m512i>(bits), reinterpret_cast<__m512i>(bit));
    return reinterpret_cast<Vector>(_mm512_mask_sub_pd(reinterpret_cast<__m512d>(sum), set, reinterpret_cast<__m512d>(sum), reinterpret_cast<__m512d>(w)));
  }
#else
  return sum - reinterpret_cast<Vector>(((bits & bit) == bit) & reinterpret_cast<Mask>(w));
#endif
}

// Rows of a chunk stay in registers while the columns pass by; a bit becomes a mask by comparison with its own position.
template <typename Real>
void residual(const BitColumns& x, int64_t from, int64_t to, const Real* target, int64_t count, const int32_t* column, const Real* weight, Real* result) {
  typedef typename Integer<sizeof(Real)>::type Whole;
  typedef Real Vector __attribute__((vector_size(LETHE_VECTOR_BYTES)));
  typedef Real Unaligned __attribute__((vector_size(LETHE_VECTOR_BYTES), aligned(4), may_alias));
  typedef Whole Mask __attribute__((vector_size(LETHE_VECTOR_BYTES)));
  constexpr int kWidth = LETHE_VECTOR_BYTES / sizeof(Real);
  constexpr int kChunk = 8 * sizeof(Whole) < 8 * kWidth ? 8 * static_cast<int>(sizeof(Whole)) : 8 * kWidth;  // rows, bits of one word
  constexpr int kSums = kChunk / kWidth;
  typedef typename Integer<kChunk / 8>::type Word;
  Mask bit[kSums];
  for (int i = 0; i < kChunk; ++i) bit[i / kWidth][i % kWidth] = static_cast<Whole>(static_cast<typename std::make_unsigned<Whole>::type>(1) << i);
  for (int64_t row = from; row < to; row += kChunk) {
    Vector sum[kSums];
    for (int v = 0; v < kSums; ++v) sum[v] = *reinterpret_cast<const Unaligned*>(target + row + v * kWidth);
    for (int64_t k = 0; k < count; ++k) {
      Word word;
      std::memcpy(&word, x.bits + column[k] * x.stride() + row / 8, sizeof word);
      const Mask bits = Mask{} + static_cast<Whole>(word);
      const Vector w = Vector{} + weight[k];
      for (int v = 0; v < kSums; ++v) sum[v] = subtractWhere(sum[v], bits, bit[v], w);
    }
    for (int v = 0; v < kSums; ++v) *reinterpret_cast<Unaligned*>(result + row + v * kWidth) = sum[v];
  }
}

#if defined(__AVX512VPOPCNTDQ__)
// Bits set in both, eight words at a time; the last words under a mask.
inline __attribute__((always_inline)) __m512i countBoth(const uint64_t* a, const uint64_t* b, int64_t length) {
  __m512i sum = _mm512_setzero_si512();
  int64_t i = 0;
  for (; i + 8 <= length; i += 8) sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_and_si512(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i))));
  const __mmask8 rest = static_cast<__mmask8>((1u << (length - i)) - 1u);
  return _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_and_si512(_mm512_maskz_loadu_epi64(rest, a + i), _mm512_maskz_loadu_epi64(rest, b + i))));
}

void pairCounts(const BitColumns& x, const uint64_t* words, const int32_t* list, int64_t count, int32_t* counts) {
  const int64_t length = x.rows / 64;
  const uint64_t* bits = reinterpret_cast<const uint64_t*>(x.bits);
  for (int64_t k = 0; k < count; ++k) counts[k] = static_cast<int32_t>(_mm512_reduce_add_epi64(countBoth(words, bits + list[k] * length, length)));
}
#else
void pairCounts(const BitColumns& x, const uint64_t* words, const int32_t* list, int64_t count, int32_t* counts) {
  const int64_t length = x.rows / 64;
  const uint64_t* bits = reinterpret_cast<const uint64_t*>(x.bits);
  for (int64_t k = 0; k < count; ++k) {
    const uint64_t* column = bits + list[k] * length;
    uint64_t sum[4] = {0, 0, 0, 0};  // so that the additions overlap
    int64_t i = 0;
    for (; i + 4 <= length; i += 4) {
#pragma GCC unroll 4
      for (int64_t part = 0; part < 4; ++part) sum[part] += static_cast<uint64_t>(__builtin_popcountll(words[i + part] & column[i + part]));
    }
    for (; i < length; ++i) sum[0] += static_cast<uint64_t>(__builtin_popcountll(words[i] & column[i]));
    counts[k] = static_cast<int32_t>((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}
#endif

}  // namespace

void LETHE_PER_ISA(addLassoRows)(LassoKernels& table) {
  table.residual = residual<double>;
  table.residualFloat = residual<float>;
  table.pairCounts = pairCounts;
}

}  // namespace lethe
