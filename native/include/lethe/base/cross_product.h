// Products of two matrices over their rows, A^T B: covariances over models, Gram matrices.
#pragma once
#include <cstdint>

#include "lethe/base/isa.h"
#include "lethe/base/status.h"
#include "lethe/base/task.h"

namespace lethe {

struct CrossProduct {
  const float* a = nullptr;  // (rows, aColumns) row-major
  const float* b = nullptr;  // (rows, bColumns) row-major
  int64_t rows = 0, aColumns = 0, bColumns = 0;
};

// product (aColumns, bColumns): sum over rows of a[row][i] b[row][j], in float32; sums of kProductRows rows are added up, so that rounding
// grows with their number and not with that of all rows. Threads do not change the result. Progress is in columns of b.
Status crossProduct(const CrossProduct& factors, Isa isa, int threads, float* product, const TaskControl& control);

constexpr int64_t kProductRows = 256;

// ---------------------------------------------------------------- kernels

// A tile of a product: kTileA columns of a and `width` of b.
struct ProductKernels {
  int64_t width;

  // tile (kTileA, width), with `stride` floats a row, becomes itself and the product over `rows` rows of a (rows, kTileA) and b (rows, width).
  void (*add)(const float* a, const float* b, int64_t rows, float* tile, int64_t stride);
};
constexpr int64_t kTileA = 6;

const ProductKernels& productKernels(Isa isa);

}  // namespace lethe
