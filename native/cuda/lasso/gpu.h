// What host and kernels of the batched Lasso share. The host walks every target's path (lasso_path.h); a round of the device serves all
// targets in flight: residuals, their correlations with all columns in one product, then a step of coordinate descent a target.
// Targets are standardised as on the CPU; correlations and penalties are sums over models. Row set s < folds: without fold s; s = folds: all.
#pragma once
#include <cstdint>

#include "cuda/base/compiler.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kMaxLimbs = 4;              // bytes a quantised residual may have
constexpr int kPathLimbs = 2, kExactLimbs = 4;  // rounding errors of 3e-5 and 5e-10 of the largest residual
constexpr int64_t kRowTile = 128;         // models of a column that are read together: 16 bytes of bits
constexpr int64_t kPairTile = 64;         // columns whose pairs are counted together; pairStride is a multiple of it

// Device memory of the design.
struct DesignView {
  const uint32_t* bits = nullptr;        // (columns, words)
  const uint32_t* rowSetRows = nullptr;  // (folds + 1, words) rows of a row set
  const int32_t* seen = nullptr;         // (folds + 1, columns) models of the row set that saw an example
  const uint16_t* pairs = nullptr;       // (tables, columns, pairStride) models of row set s < tables that saw both examples
  int64_t pairStride = 0, tables = 0;    // other row sets' pairs are counted from the bits
  int64_t columns = 0, words = 0;        // words: a multiple of 4
  int32_t all = 0;                       // the row set of all models
  bool standardise = false;
  int64_t rows() const { return words * 32; }
  // Of correlations of so many targets, whose residuals have so many bytes.
  int64_t operations(int64_t targets, int limbs) const { return 2 * rows() * columns * targets * limbs; }
};

// Device memory of targets in flight. A slot is a target's place for its whole path; a lane is its place in one round.
struct SlotsView {
  float* raw = nullptr;         // (slots, rows) the target's values, 0 in padding
  uint32_t* member = nullptr;   // (slots, ceil(columns / 32)) bits: columns in the working set
  int32_t* state = nullptr;     // (slots, 2) members, members whose pairs are counted
  double* heldOut = nullptr;    // (slots, heldCapacity) errors of the last solution on held-out models
  int64_t heldCapacity = 0;
  double* residual = nullptr;     // (lanes, rows)
  int8_t* limbs = nullptr;        // (lanes, kMaxLimbs, rows) rows in the order of lasso_product.cu
  double* unit = nullptr;         // (lanes) of the quantised residual
  int64_t* total = nullptr;       // (lanes) sum of the quantised residual
  double* correlation = nullptr;  // (lanes, columns)
};

// Working set of a target, in one piece of memory.
struct SetView {
  double *weight, *previous, *best, *gradient;  // (capacity) of this solution, the one before, the best on held-out models
  int32_t *columns, *seen;                      // (capacity) and how many models of the row set saw each
  uint16_t* pairs;                              // (capacity, capacity) models of the row set that saw both
};
constexpr int64_t setBytes(int64_t capacity) { return capacity * (4 * 8 + 2 * 4) + capacity * capacity * 2; }
__host__ __device__ inline SetView setAt(uint8_t* at, int64_t capacity) {
  SetView set;
  set.weight = reinterpret_cast<double*>(at);
  set.previous = set.weight + capacity;
  set.best = set.previous + capacity;
  set.gradient = set.best + capacity;
  set.columns = reinterpret_cast<int32_t*>(set.gradient + capacity);
  set.seen = set.columns + capacity;
  set.pairs = reinterpret_cast<uint16_t*>(set.seen + capacity);
  return set;
}

enum class Restart : int32_t { none, empty, best };  // the working set before a residual: kept, emptied, the best solution

struct Command {
  int32_t slot = 0, lane = 0, rowSet = 0, count = 0;  // count: models of the row set
  int32_t heldFrom = 0, heldTo = 0;                   // held-out rows
  uint8_t* set = nullptr;
  int64_t capacity = 0;
  // before the residual
  double bestShare = -1;  // >= 0: the best solution is now this share of `previous` and the rest of `weight`
  Restart restart = Restart::none;
  double bestScale = 1;   // unit of the best solution's weights
  // of the step
  double entry = 0, penalty = 0;  // columns join at |correlation| >= entry * factor; penalty * factor of a column
  double tolerance = 0, tightening = 1;  // the latter times the tolerance when no column joins
  int32_t maxSweeps = 0, firstStep = 0;  // firstStep: of a path, from all weights zero
};

struct Outcome {
  // of the residual
  double mean = 0, scale = 0;                  // of the target on the row set
  double squares = 0, product = 0;             // r^T r, r^T y
  double penalised = 0, zeroHeldOut = 0;       // sum of factor |w|; squared held-out error of zero weights
  int32_t usable = 0;                          // 0: the target is constant on the row set
  double largest = 0;                          // max |correlation| / factor
  // of the step
  double heldBefore = 0, heldMixed = 0, heldNow = 0;  // held-out errors e of the last two solutions: e0^T e0, e0^T e, e^T e
  int32_t size = 0, admitted = 0;                     // members; needed ones where they exceed the capacity, and nothing was done
};

// Standardise, restart, residual, quantise: one block a command.
void computeResiduals(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t count, int limbs, Outcome* outcomes);
// correlation of lanes [first, first + count), limbs 2 or 4. Row set and models of a lane come from its command.
void correlate(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t first, int64_t count, int limbs);
// largest of the outcomes of lanes [0, count).
void findLargest(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t count, Outcome* outcomes);
// Admission, pair counts, coordinate descent, held-out errors: one block a command; all of one capacity. outcomes: by lane.
void takeSteps(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t count, int64_t capacity, Outcome* outcomes);
// pairs: (columns, pairStride) of all columns on the rows of a row set.
void countAllPairs(const DesignView& design, int32_t rowSet, uint16_t* pairs);
// Copies a working set of `size` members, of which `counted` have pairs, into a larger one.
void growSet(uint8_t* from, int64_t fromCapacity, uint8_t* to, int64_t toCapacity, int64_t size, int64_t counted);

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
