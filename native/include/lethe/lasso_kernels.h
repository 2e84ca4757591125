// The datamodel backend contract: one table of kernels over bit columns per instruction set. Kernels run on the calling thread,
// allocate nothing, check nothing (the driver in core/ has), and write only inside the stated shapes.
#pragma once
#include <cstdint>

#include "lethe/isa.h"

namespace lethe {

// A 0/1 matrix stored by columns: bit i of column j says that model (row) i saw example j.
// bits: (columns, rows / 8) little-endian bits, 8-byte aligned; rows is a multiple of 64 and padding rows are zero.
struct BitColumns {
  const uint8_t* bits = nullptr;
  int64_t rows = 0, columns = 0;

  int64_t stride() const { return rows / 8; }
};

constexpr int64_t kPassLanes = 16;
constexpr int64_t kTableInts = 4096;

struct LassoKernels {
  // sums[j, l] = sum of values[i, l] over the rows i whose bit is set in column j: X^T R for kPassLanes residuals at once, in exact
  // integers, so every instruction set gives the same bytes. The caller keeps the absolute sum of each lane below 2^31.
  // values: (rows, kPassLanes), sums: (columns, kPassLanes) overwritten, tables: (kTableInts) scratch; fastest 64-byte aligned.
  void (*maskedSums)(const BitColumns& x, const int32_t* values, int32_t* sums, int32_t* tables);

  // residual[i] = target[i] - sum_k weight[k] * bit(i, column[k]) for rows [from, to), summed in the order of k without contraction.
  // from and to are multiples of 64. target, residual: (rows); column, weight: (count).
  void (*residual)(const BitColumns& x, int64_t from, int64_t to, const double* target, int64_t count, const int32_t* column,
                   const double* weight, double* residual);

  // counts[k] = number of rows in [from, to) set in both `column` and list[k]. from and to are multiples of 64.
  void (*pairCounts)(const BitColumns& x, int64_t from, int64_t to, int32_t column, const int32_t* list, int64_t count, int32_t* counts);

  // One sweep of covariance coordinate descent over `positions` of a working set of `size` features, size a multiple of 16:
  //   minimise 1/2 w^T H w - q^T w + lambda ||w||_1, with gradient = q - H w kept up to date.
  // Weights are doubles so that repeated refreshing of the gradient reaches any gap. The precise twin keeps the gradient in double too: near
  // interpolation, float gradients stall at a gap of about 1e-6.
  // gram: (size, stride) symmetric, inverseDiagonal: (size) 1 / H_pp. Returns max |change of w_p| * H_pp.
  float (*descend)(int64_t count, const int32_t* positions, int64_t size, const float* gram, int64_t stride,
                   const float* inverseDiagonal, float lambda, float* gradient, double* weight);
  double (*descendPrecise)(int64_t count, const int32_t* positions, int64_t size, const float* gram, int64_t stride,
                           const float* inverseDiagonal, double lambda, double* gradient, double* weight);
};

// Kernels of one instruction set; the level must be available (resolveIsa).
const LassoKernels& lassoKernels(Isa isa);

}  // namespace lethe
