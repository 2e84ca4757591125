// The driver of a fit: workers keep a group of targets in flight, correlate all their residuals with the design in one pass, and replace
// finished targets at once. A target's numbers depend on its own column only: its lanes of the pass are exact integers.
#include "lethe/lasso.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <new>

#include "core/lasso_target.h"
#include "lethe/parallel.h"

namespace lethe {

namespace {

constexpr int64_t kInFlight = 16;             // targets of a worker; those that find no free lane wait for the next pass
constexpr int64_t kChunk = 16;                // targets taken from the queue at once: neighbours in memory
constexpr int64_t kPairsBytes = 1ll << 30;    // a table of Gram counts larger than this is not made
constexpr int64_t kPairsTargets = 64;         // nor for fewer targets than this

// Vectors of a pass never straddle two cache lines.
template <typename T>
struct LineAllocator {
  typedef T value_type;
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* at, size_t) { ::operator delete(at, std::align_val_t{64}); }
  template <typename U>
  bool operator==(const LineAllocator<U>&) const { return true; }
};
typedef std::vector<int32_t, LineAllocator<int32_t>> AlignedInts;

struct Shared {
  const LassoDesign& design;
  const LassoKernels& kernels;
  const TargetView& targets;
  const FitOptions& options;
  const TaskControl& control;
  int64_t numModels;
  std::vector<TargetFit>& fits;
  std::atomic<int64_t> nextChunk{0}, numDone{0};
};

// A residual as fixed-point lanes of a pass: value = unit[0] * first lane + unit[1] * second lane.
struct Slot {
  std::unique_ptr<TargetSolver> solver;
  int64_t target = -1;  // -1: free
  int64_t lane = 0, limbs = 1;
  double unit[2] = {0, 0}, sum[2] = {0, 0};  // sum: of the quantised values of a lane
  double largest = 0;                        // max |correlation| of the last pass
};

class Worker {
 public:
  explicit Worker(Shared& shared) : shared_(shared), slots_(kInFlight), tables_(kTableInts) {
    for (Slot& slot : slots_) {
      slot.solver = shared.options.estimator == Estimator::lasso ? makeLassoSolver(shared.design, shared.kernels, shared.options)
                                                                 : makeMarginalSolver(shared.design, shared.kernels, shared.options);
    }
  }

  void run() {
    while (!shared_.control.aborted() && assignLanes()) {
      correlate();
      for (Slot* slot : passing_) {
        if (!slot->solver->advance(slot->largest, shared_.control)) complete(*slot);
      }
    }
  }

 private:
  // Fills free slots and gives lanes to as many as fit, starting where the last pass ended. False: nothing is left to do.
  bool assignLanes() {
    passing_.clear();
    int64_t lanes = 0;
    for (int64_t k = 0; k < kInFlight; ++k) {
      Slot& slot = slots_[(first_ + k) % kInFlight];
      if (slot.target < 0 && !refill(slot)) continue;
      slot.limbs = slot.solver->precise() ? 2 : 1;
      if (lanes + slot.limbs > kPassLanes) {
        first_ = (first_ + k) % kInFlight;
        return true;
      }
      slot.lane = lanes;
      lanes += slot.limbs;
      passing_.push_back(&slot);
    }
    return lanes > 0;
  }

  // Starts the next target in this slot; targets that need no passes are completed on the way.
  bool refill(Slot& slot) {
    while (takeColumn()) {
      slot.target = column_;
      if (slot.solver->begin(values_.data() + (column_ - chunkFrom_) * shared_.numModels)) return true;
      complete(slot);
    }
    return false;
  }

  // Advances column_ to the next target whose values lie in values_: (chunk, numModels).
  bool takeColumn() {
    if (++column_ < chunkTo_) return true;
    const TargetView& targets = shared_.targets;
    chunkFrom_ = column_ = shared_.nextChunk.fetch_add(1) * kChunk;
    chunkTo_ = std::min(chunkFrom_ + kChunk, targets.numTargets);
    if (chunkFrom_ >= chunkTo_) {
      column_ = chunkTo_ = targets.numTargets;
      return false;
    }
    values_.resize(kChunk * shared_.numModels);
    for (int64_t i = 0; i < shared_.numModels; ++i) {
      for (int64_t t = chunkFrom_; t < chunkTo_; ++t) values_[(t - chunkFrom_) * shared_.numModels + i] = targets.values[i * targets.rowStride + t];
    }
    return true;
  }

  void complete(Slot& slot) {
    shared_.fits[slot.target] = std::move(slot.solver->fit());
    slot.target = -1;
    shared_.control.report(static_cast<double>(shared_.numDone.fetch_add(1) + 1), static_cast<double>(shared_.targets.numTargets));
  }

  void correlate() {
    const BitColumns& x = shared_.design.columns();
    lanes_.resize(x.rows * kPassLanes);
    sums_.resize(x.columns * kPassLanes);
    std::fill(lanes_.begin(), lanes_.end(), 0);
    for (Slot* slot : passing_) quantise(*slot);
    shared_.kernels.maskedSums(x, lanes_.data(), sums_.data(), tables_.data());
    // column blocks keep the sums in the first-level cache while the slots read their lanes
    constexpr int64_t kBlock = 128;
    for (int64_t from = 0; from < x.columns; from += kBlock) {
      for (Slot* slot : passing_) dequantise(*slot, from, std::min(from + kBlock, x.columns));
    }
  }

  // Splits the residual into integers whose absolute sum stays below 2^31.
  void quantise(Slot& slot) {
    const std::vector<double>& residual = slot.solver->residual();
    const int64_t extent = slot.solver->subset().extent;
    double total = 0;
    for (int64_t i = 0; i < extent; ++i) total += std::fabs(residual[i]);
    const double room = 2147483647.0 - static_cast<double>(extent);  // rounding adds at most 1/2 a row
    slot.unit[0] = total > 0 ? total / room : 1;
    slot.unit[1] = slot.unit[0] * 0.5 * static_cast<double>(extent) / room;
    slot.sum[0] = slot.sum[1] = slot.largest = 0;
    const double inverse = 1 / slot.unit[0], inverseRest = 1 / slot.unit[1];
    int32_t* lane = lanes_.data() + slot.lane;
    for (int64_t i = 0; i < extent; ++i) {
      const double high = static_cast<double>(std::lrint(residual[i] * inverse));
      lane[i * kPassLanes] = static_cast<int32_t>(high);
      slot.sum[0] += high;
      if (slot.limbs == 1) continue;
      const double low = static_cast<double>(std::lrint((residual[i] - high * slot.unit[0]) * inverseRest));
      lane[i * kPassLanes + 1] = static_cast<int32_t>(low);
      slot.sum[1] += low;
    }
  }

  // correlation[j] = (sum of r over the models that saw j - seen[j] / count * sum of r) / count
  void dequantise(Slot& slot, int64_t from, int64_t to) {
    const RowSubset& subset = slot.solver->subset();
    const double perModel = 1.0 / static_cast<double>(subset.count);
    const double total = slot.unit[0] * slot.sum[0] + slot.unit[1] * slot.sum[1];
    const double share = total * perModel * perModel, high = slot.unit[0] * perModel, low = slot.limbs == 2 ? slot.unit[1] * perModel : 0;
    const int32_t* sums = sums_.data() + slot.lane;
    const int64_t second = slot.limbs - 1;
    double* correlation = slot.solver->correlation().data();
    for (int64_t j = from; j < to; ++j) {
      double value = high * sums[j * kPassLanes] + low * sums[j * kPassLanes + second] - share * subset.seen[j];
      if (subset.constant(static_cast<int32_t>(j))) value = 0;
      correlation[j] = value;
      slot.largest = std::max(slot.largest, std::fabs(value));
    }
  }

  Shared& shared_;
  std::vector<Slot> slots_;
  std::vector<Slot*> passing_;  // the slots of this pass
  int64_t first_ = 0;
  AlignedInts tables_, lanes_, sums_;  // (kTableInts), (rows, kPassLanes), (columns, kPassLanes)
  std::vector<float> values_;
  int64_t column_ = -1, chunkFrom_ = 0, chunkTo_ = 0;
};

Status checkOptions(const MaskView& masks, const TargetView& targets, const FitOptions& options) {
  const auto invalid = [](const std::string& text) { return Status::error("LETHE_ARGUMENT_INVALID", text); };
  if (masks.numModels < 1 || masks.numTrain < 1) return invalid("masks: expected at least one model and one example.");
  if (targets.rowStride < targets.numTargets) return invalid("targets: expected a row stride of at least the number of targets.");
  if (!(options.gapTolerance > 0)) return invalid("gapTolerance: expected a number > 0; received " + std::to_string(options.gapTolerance) + ".");
  if (options.holdout.empty()) {
    if (!(options.lambda > 0) || std::isinf(options.lambda)) {
      return invalid("lambda: expected a finite number > 0 when no models are held out; received " + std::to_string(options.lambda) + ".");
    }
    return Status::success();
  }
  if (options.pathLength < 1) return invalid("pathLength: expected an integer >= 1; received " + std::to_string(options.pathLength) + ".");
  if (!(options.lambdaMinRatio > 0 && options.lambdaMinRatio < 1)) {
    return invalid("lambdaMinRatio: expected a number between 0 and 1; received " + std::to_string(options.lambdaMinRatio) + ".");
  }
  if (static_cast<int64_t>(options.holdout.size()) >= masks.numModels) return invalid("holdout: expected fewer models than there are.");
  for (int32_t model : options.holdout) {
    if (model < 0 || model >= masks.numModels) return invalid("holdout: expected rows below " + std::to_string(masks.numModels) + ".");
  }
  return Status::success();
}

}  // namespace

Status fitDatamodels(const MaskView& masks, const TargetView& targets, const FitOptions& options, const TaskControl& control,
                     std::vector<TargetFit>& fits) {
  Isa isa;
  Status status = resolveIsa(options.isa, isa);
  if (status.ok()) status = checkOptions(masks, targets, options);
  if (!status.ok()) return status;
  const LassoKernels& kernels = lassoKernels(isa);
  LassoDesign design(masks, options.holdout, kernels);
  const int64_t n = masks.numTrain;
  if (options.estimator == Estimator::lasso && masks.numModels < 65536 && n <= kPairsBytes / 2 / n && targets.numTargets >= kPairsTargets) {
    design.precomputePairs(options.threads, control);
  }
  fits.assign(targets.numTargets, TargetFit{});
  Shared shared{design, kernels, targets, options, control, masks.numModels, fits};
  const int64_t chunks = (targets.numTargets + kChunk - 1) / kChunk;
  const int64_t threads = std::min<int64_t>(options.threads > 0 ? options.threads : allowedThreads(), chunks);
  parallelFor(threads, static_cast<int>(threads), [&](int64_t, int) { Worker(shared).run(); });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "the fit was stopped before it was complete.");
  return Status::success();
}

}  // namespace lethe
