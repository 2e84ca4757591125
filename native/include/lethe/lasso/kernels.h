// The datamodel backend contract: one table of kernels over bit columns per instruction set. Kernels run on the calling thread,
// allocate nothing, check nothing (the driver in core/ has), and write only inside the stated shapes.
#pragma once
#include <cstdint>

#include "lethe/base/isa.h"

namespace lethe {

// A 0/1 matrix stored by columns: bit i of column j says that model (row) i saw example j.
// bits: (columns, rows / 8) little-endian bits, 8-byte aligned; rows is a multiple of 64 and padding rows are zero.
struct BitColumns {
  const uint8_t* bits = nullptr;
  int64_t rows = 0, columns = 0;

  int64_t stride() const { return rows / 8; }
};

// The same bits in the order of a pass over all columns: bit i of word (b, j) is row 64 b + i of column j.
struct BitBlocks {
  const uint64_t* words = nullptr;  // (rows / 64, columns)
  int64_t columns = 0;
};

// One line of a pass: the values that a row of the design has for all residuals of the pass.
constexpr int64_t kPassBytes = 64;
constexpr int64_t kExactLanes = kPassBytes / sizeof(int32_t);   // residuals of an exact pass
constexpr int64_t kScreenLanes = kPassBytes / sizeof(int16_t);  // residuals of a screening pass

// Columns of a screening pass that at least one lane is interested in.
struct ScreenHit {
  int32_t column;
  uint32_t lanes;  // bit l: |sum of lane l| >= its threshold
};

// The working set of one target, of `size` features (a multiple of 16): Gram entries in counts of models,
//   H_pq = gram[p, q] + phi[p] + phi[q] - psi[p] * psi[q]   for p != q,   H_pp = diagonal[p],
// with small whole numbers in gram (its own diagonal is zero), so that they are exact in 8 or 16 bits.
template <typename Entry>
struct DescentSet {
  int64_t size = 0, stride = 0;
  const Entry* gram = nullptr;                  // (size, stride)
  const float *diagonal = nullptr, *inverse = nullptr;  // (size) inverse: 1 / diagonal
  const float *phi = nullptr, *psi = nullptr;   // (size)
  const double* penalty = nullptr;              // (size) threshold of |gradient|: lambda, in the unit of the gradient
};

struct LassoKernels {
  // sums[j, l] = sum of values[i, l] over the rows i < rows whose bit is set in column j: X^T R for all lanes at once, modulo 2^32.
  // rows: a multiple of 64. values: (rows, kExactLanes), sums: (columns, kExactLanes) overwritten, scratch: (passScratchBytes(rows)); all
  // 64-byte aligned.
  void (*exactSums)(const BitBlocks& x, int64_t rows, const int32_t* values, int32_t* sums, void* scratch);

  // The same modulo 2^16 for twice as many lanes; sums are right where the true sum lies between -2^15 and 2^15 - 1.
  void (*screenSums)(const BitBlocks& x, int64_t rows, const int16_t* values, int16_t* sums, void* scratch);

  // Grows with the rows, or does not depend on them.
  int64_t (*passScratchBytes)(int64_t rows);

  // Lists the columns j with |sums[j, l]| >= thresholds[l] for some lane l, in order. sums: (columns, kScreenLanes), thresholds > 0:
  // (kScreenLanes), hits: (columns). Returns their number.
  int64_t (*screen)(int64_t columns, const int16_t* sums, const int16_t* thresholds, ScreenHit* hits);

  // residual[i] = target[i] - sum_k weight[k] * bit(i, column[k]) for rows [from, to), summed in the order of k without contraction.
  // from and to are multiples of 64. target, residual: (rows); column, weight: (count).
  void (*residual)(const BitColumns& x, int64_t from, int64_t to, const double* target, int64_t count, const int32_t* column, const double* weight,
                   double* residual);
  void (*residualFloat)(const BitColumns& x, int64_t from, int64_t to, const float* target, int64_t count, const int32_t* column, const float* weight,
                        float* residual);

  // counts[k] = number of rows set in both `words` and column list[k]. words: (x.rows / 64)
  void (*pairCounts)(const BitColumns& x, const uint64_t* words, const int32_t* list, int64_t count, int32_t* counts);

  // result[p - from] = (H w)_p for the features [from, to) of a working set. weight: (size)
  void (*products8)(const DescentSet<int8_t>& set, int64_t from, int64_t to, const float* weight, float* result);
  void (*products16)(const DescentSet<int16_t>& set, int64_t from, int64_t to, const float* weight, float* result);

  // One sweep of covariance coordinate descent over `positions` of a working set:
  //   minimise 1/2 w^T H w - q^T w + sum_p penalty_p |w_p|, with gradient = q - H w kept up to date.
  // Weights are doubles so that repeated refreshing of the gradient reaches any gap. The Precise twins keep the gradient in double too:
  // near interpolation, float gradients stall at a gap of about 1e-6. Returns max |change of w_p| * H_pp / penalty_p. count > 0.
  float (*descend8)(const DescentSet<int8_t>& set, int64_t count, const int32_t* positions, float* gradient, double* weight);
  float (*descend16)(const DescentSet<int16_t>& set, int64_t count, const int32_t* positions, float* gradient, double* weight);
  double (*descendPrecise8)(const DescentSet<int8_t>& set, int64_t count, const int32_t* positions, double* gradient, double* weight);
  double (*descendPrecise16)(const DescentSet<int16_t>& set, int64_t count, const int32_t* positions, double* gradient, double* weight);
};

// Kernels of one instruction set; the level must be available (resolveIsa).
const LassoKernels& lassoKernels(Isa isa);

}  // namespace lethe
