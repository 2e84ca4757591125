// Coordinate descent on the working set of one target, and the kernel table of this instruction set.
#include "cpu/lasso/ops.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lethe {
namespace {

// Whole numbers of a row as 32-bit lanes. The compiler widens 16 bits well, but takes 8 bits apart one by one.
template <int Width, typename Entry>
inline __attribute__((always_inline)) auto widen(const Entry* from) {
  typedef int32_t Whole __attribute__((vector_size(Width * 4)));
#if defined(__AVX2__)
  if constexpr (sizeof(Entry) == 1 && Width == 4) return reinterpret_cast<Whole>(_mm_cvtepi8_epi32(_mm_loadu_si32(from)));
  if constexpr (sizeof(Entry) == 1 && Width == 8) return reinterpret_cast<Whole>(_mm256_cvtepi8_epi32(_mm_loadu_si64(from)));
#endif
#if defined(__AVX512F__)
  if constexpr (sizeof(Entry) == 1 && Width == 16) {
    return reinterpret_cast<Whole>(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  }
#endif
  typedef Entry Entries __attribute__((vector_size(Width * sizeof(Entry)), aligned(1), may_alias));
  return __builtin_convertvector(*reinterpret_cast<const Entries*>(from), Whole);
}

// gradient -= by * row over a padded row of whole numbers
template <typename Entry, typename Real>
inline __attribute__((always_inline)) void subtract(const Entry* row, Real by, int64_t size, Real* gradient) {
  constexpr int kWidth = LETHE_VECTOR_BYTES / sizeof(Real);
  typedef Real Vector __attribute__((vector_size(LETHE_VECTOR_BYTES)));
  typedef Real Unaligned __attribute__((vector_size(LETHE_VECTOR_BYTES), aligned(4), may_alias));
  const Vector factor = Vector{} + by;
  for (int64_t q = 0; q < size; q += 16) {
#pragma GCC unroll 16
    for (int v = 0; v < 16; v += kWidth) {
      Unaligned* to = reinterpret_cast<Unaligned*>(gradient + q + v);
      *to = *to - factor * __builtin_convertvector(widen<kWidth>(row + q + v), Vector);
    }
  }
}

template <typename Entry>
void products(const DescentSet<Entry>& set, int64_t from, int64_t to, const float* weight, float* result) {
  constexpr int kWidth = LETHE_VECTOR_BYTES / sizeof(float);
  typedef float Vector __attribute__((vector_size(LETHE_VECTOR_BYTES)));
  typedef float Unaligned __attribute__((vector_size(LETHE_VECTOR_BYTES), aligned(4), may_alias));
  double ones = 0, phis = 0, psis = 0;
  for (int64_t q = 0; q < set.size; ++q) {
    const double w = static_cast<double>(weight[q]);
    ones += w;
    phis += w * static_cast<double>(set.phi[q]);
    psis += w * static_cast<double>(set.psi[q]);
  }
  for (int64_t p = from; p < to; ++p) {
    const Entry* row = set.gram + p * set.stride;
    Vector sum[4] = {};  // so that the additions overlap
    const auto add = [&](int64_t q, int into) __attribute__((always_inline)) {
      sum[into] += __builtin_convertvector(widen<kWidth>(row + q), Vector) * *reinterpret_cast<const Unaligned*>(weight + q);
    };
    int64_t q = 0;
    for (; q + 4 * kWidth <= set.size; q += 4 * kWidth) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) add(q + v * kWidth, v);
    }
    for (; q < set.size; q += kWidth) add(q, 0);
    const Vector all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    double counts = 0;
    for (int l = 0; l < kWidth; ++l) counts += static_cast<double>(all[l]);
    const double phi = static_cast<double>(set.phi[p]), psi = static_cast<double>(set.psi[p]);
    const double own = static_cast<double>(set.diagonal[p]) - 2 * phi + psi * psi;
    result[p - from] = static_cast<float>(counts + phi * ones + phis - psi * psis + own * static_cast<double>(weight[p]));
  }
}

template <typename Entry, typename Real>
Real descend(const DescentSet<Entry>& set, int64_t count, const int32_t* positions, Real* gradient, double* weight) {
  // The rank-one parts of H would cost a pass over the working set each step: their effect on every gradient is one of three sums.
  Real sumPhi = 0, sumOne = 0, sumPsi = 0, largest = 0;
  int64_t p = positions[0];
  Real stored = gradient[p];
  for (int64_t k = 0; k < count; ++k) {
    const Real phi = static_cast<Real>(set.phi[p]), psi = static_cast<Real>(set.psi[p]), penalty = static_cast<Real>(set.penalty[p]);
    const Real diagonal = static_cast<Real>(set.diagonal[p]), inverse = static_cast<Real>(set.inverse[p]);
    const Real before = static_cast<Real>(weight[p]);
    const Real g = stored - sumPhi - sumOne * phi + sumPsi * psi;
    const Real pull = g + diagonal * before;
    const int64_t here = p;
    p = positions[k + 1 < count ? k + 1 : k];
    stored = gradient[p];
    if (before == 0 && pull <= penalty && pull >= -penalty) continue;
    // steps, not new values: a fixed point then has |g| = penalty exactly, whatever the rounding of the diagonal
    const Real change = pull > penalty ? (g - penalty) * inverse : pull < -penalty ? (g + penalty) * inverse : -before;
    weight[here] = pull > penalty || pull < -penalty ? weight[here] + static_cast<double>(change) : 0.0;
    const Entry* row = set.gram + here * set.stride;
    stored -= change * static_cast<Real>(row[p]);  // the next step need not wait for the whole row
    subtract(row, change, set.size, gradient);
    sumPhi += change * phi;
    sumOne += change;
    sumPsi += change * psi;
    // the row's own entry is zero, and the three sums hold 2 phi - psi^2 of H_pp
    gradient[here] -= change * (diagonal - 2 * phi + psi * psi);
    const Real moved = (change < 0 ? -change : change) * diagonal / penalty;
    largest = moved > largest ? moved : largest;
  }
  for (int64_t q = 0; q < set.size; ++q) {
    gradient[q] += sumPsi * static_cast<Real>(set.psi[q]) - sumOne * static_cast<Real>(set.phi[q]) - sumPhi;
  }
  return largest;
}

}  // namespace

LassoKernels LETHE_PER_ISA(lassoKernels)() {
  LassoKernels table;
  LETHE_PER_ISA(addLassoSums)(table);
  LETHE_PER_ISA(addLassoRows)(table);
  table.products8 = products<int8_t>;
  table.products16 = products<int16_t>;
  table.descend8 = descend<int8_t, float>;
  table.descend16 = descend<int16_t, float>;
  table.descendPrecise8 = descend<int8_t, double>;
  table.descendPrecise16 = descend<int16_t, double>;
  return table;
}

}  // namespace lethe
