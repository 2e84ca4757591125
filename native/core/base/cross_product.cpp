// A^T B by blocks that fit the L2 cache, packed so that a tile reads its factors in a row.
#include "lethe/base/cross_product.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "core/base/isa_table.h"
#include "lethe/base/parallel.h"

namespace lethe {

LETHE_ISA_TABLE(ProductKernels, productKernels)

namespace {

constexpr int64_t kBlockA = 40 * kTileA, kBlockB = 256;  // columns of a block

// to (columns / width, rows, width) of from (rows, stride), columns beyond `columns` zero.
void pack(const float* from, int64_t stride, int64_t rows, int64_t columns, int64_t width, float* to) {
  for (int64_t first = 0; first < columns; first += width) {
    const int64_t count = std::min(width, columns - first);
    for (int64_t row = 0; row < rows; ++row, to += width) {
      std::copy_n(from + row * stride + first, count, to);
      std::fill(to + count, to + width, 0.f);
    }
  }
}

int64_t roundUp(int64_t count, int64_t width) { return (count + width - 1) / width * width; }

// What one worker packs into.
struct Scratch {
  std::vector<float> a, b, tile;
};

// Columns [firstA, firstA + columnsA) by [firstB, firstB + columnsB).
void multiplyBlock(const CrossProduct& f, const ProductKernels& kernels, int64_t firstA, int64_t firstB, Scratch& scratch, float* product) {
  const int64_t columnsA = std::min(kBlockA, f.aColumns - firstA), columnsB = std::min(kBlockB, f.bColumns - firstB);
  const int64_t paddedA = roundUp(columnsA, kTileA), paddedB = roundUp(columnsB, kernels.width);
  scratch.a.resize(static_cast<size_t>(paddedA * kProductRows));
  scratch.b.resize(static_cast<size_t>(paddedB * kProductRows));
  scratch.tile.assign(static_cast<size_t>(paddedA * paddedB), 0.f);  // (paddedA, paddedB)
  for (int64_t row = 0; row < f.rows; row += kProductRows) {
    const int64_t rows = std::min(kProductRows, f.rows - row);
    pack(f.a + row * f.aColumns + firstA, f.aColumns, rows, columnsA, kTileA, scratch.a.data());
    pack(f.b + row * f.bColumns + firstB, f.bColumns, rows, columnsB, kernels.width, scratch.b.data());
    for (int64_t j = 0; j < paddedB; j += kernels.width) {
      for (int64_t i = 0; i < paddedA; i += kTileA) {
        kernels.add(scratch.a.data() + i * rows, scratch.b.data() + j * rows, rows, scratch.tile.data() + i * paddedB + j, paddedB);
      }
    }
  }
  for (int64_t i = 0; i < columnsA; ++i) std::copy_n(scratch.tile.data() + i * paddedB, columnsB, product + (firstA + i) * f.bColumns + firstB);
}

}  // namespace

Status crossProduct(const CrossProduct& factors, Isa isa, int threads, float* product, const TaskControl& control) {
  const ProductKernels& kernels = productKernels(isa);
  const int64_t blocksA = (factors.aColumns + kBlockA - 1) / kBlockA, blocksB = (factors.bColumns + kBlockB - 1) / kBlockB;
  const int workers = threads > 0 ? threads : allowedThreads();
  std::vector<Scratch> scratch(static_cast<size_t>(workers));
  std::atomic<int64_t> done{0};
  parallelFor(blocksA * blocksB, workers, [&](int64_t index, int worker) {
    if (control.aborted()) return;
    multiplyBlock(factors, kernels, index % blocksA * kBlockA, index / blocksA * kBlockB, scratch[static_cast<size_t>(worker)], product);
    control.report(static_cast<double>(++done) / static_cast<double>(blocksA * blocksB) * static_cast<double>(factors.bColumns),
                   static_cast<double>(factors.bColumns));
  });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "stopped on request before the product was complete.");
  return Status::success();
}

}  // namespace lethe
