// The driver of a fit: workers keep a group of targets in flight, correlate many of their residuals with the design in one pass, and
// replace finished targets at once. A target's numbers depend on its own column only.
#include "lethe/lasso/fit.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "core/lasso/pass.h"
#include "core/lasso/target.h"
#include "lethe/base/parallel.h"

namespace lethe {

namespace {

constexpr int64_t kInFlight = 48;      // targets of a worker: enough that most passes are full
constexpr int64_t kChunk = 16;         // targets taken from the queue at once: neighbours in memory
constexpr int64_t kTableTargets = 64;  // Gram tables are not made for fewer targets

struct Shared {
  const LassoDesign& design;
  const TargetView& targets;
  const FitOptions& options;
  const TaskControl& control;
  std::vector<TargetFit>* fits;              // or
  const std::vector<double>* relaxations;    // of the scores
  std::vector<PathScore>* scores;
  int64_t setBytes = 0;  // of a worker's working sets; 0: no limit
  std::atomic<int64_t> nextChunk{0}, numDone{0};
};

struct Slot {
  std::unique_ptr<TargetSolver> solver;
  int64_t target = -1;  // -1: free
  Wanted wants = Wanted::none;
};

class Worker {
 public:
  explicit Worker(Shared& shared) : shared_(shared), runner_(shared.design) {}

  void run() {
    while (!shared_.control.aborted() && refill()) {
      // most of its memory a set takes at the end of its path: under want of it the first go on alone, and give it back
      advancing_ = full() ? std::clamp<int64_t>(shared_.setBytes / 2 / largestSet(), 1, live_) : live_;
      const int64_t exactLanes = choose(Wanted::exact, kExactLanes), screenLanes = choose(Wanted::screen, kScreenLanes);
      // the fuller pass, by share of its lanes
      if (exactLanes * kScreenLanes > screenLanes * kExactLanes) exactPass();
      else screenPass();
    }
  }

 private:
  // Starts targets in free slots. False: nothing is in flight.
  bool refill() {
    while (live_ < kInFlight && (live_ == 0 || !full()) && takeColumn()) {
      if (live_ == static_cast<int64_t>(slots_.size())) slots_.emplace_back();
      Slot* slot = &slots_[0];
      while (slot->target >= 0) ++slot;
      if (!slot->solver) slot->solver = makeSolver(shared_.design, shared_.options, shared_.relaxations);
      slot->target = column_;
      ++live_;
      const float* values = values_.data() + (column_ - chunkFrom_) * shared_.design.numModels();
      proceed(*slot, slot->solver->begin(inputOf(shared_.targets, shared_.options, column_, values)));
    }
    return live_ > 0;
  }

  // Advances column_ to the next target whose values lie in values_: (chunk, numModels).
  bool takeColumn() {
    if (++column_ < chunkTo_) return true;
    const TargetView& targets = shared_.targets;
    const int64_t models = shared_.design.numModels();
    chunkFrom_ = column_ = shared_.nextChunk.fetch_add(1) * kChunk;
    chunkTo_ = std::min(chunkFrom_ + kChunk, targets.numTargets);
    if (chunkFrom_ >= chunkTo_) {
      column_ = chunkTo_ = targets.numTargets;
      return false;
    }
    values_.resize(kChunk * models);
    for (int64_t i = 0; i < models; ++i) {
      for (int64_t t = chunkFrom_; t < chunkTo_; ++t) values_[(t - chunkFrom_) * models + i] = targets.values[i * targets.rowStride + t];
    }
    return true;
  }

  void proceed(Slot& slot, Wanted wants) {
    slot.wants = wants;
    if (wants != Wanted::none) return;
    if (shared_.fits) (*shared_.fits)[slot.target] = std::move(slot.solver->fit());
    else (*shared_.scores)[slot.target] = std::move(slot.solver->score());
    slot.target = -1;
    --live_;
    if (full()) slot.solver.reset();
    shared_.control.report(static_cast<double>(shared_.numDone.fetch_add(1) + 1), static_cast<double>(shared_.targets.numTargets));
  }

  // Gram counts of a set that holds twice as many columns as there are models, or all.
  int64_t largestSet() const {
    const BitColumns& columns = shared_.design.columns();
    const int64_t size = std::min(columns.columns, 2 * columns.rows) * 3 / 2;
    return size * size * (shared_.design.all().table.entryBytes == 1 ? 1 : 2);
  }

  // The working sets have used up half of their memory: the other half is for those that advance.
  bool full() const {
    int64_t bytes = 0;
    for (const Slot& slot : slots_) bytes += slot.solver ? slot.solver->setBytes() : 0;
    return shared_.setBytes > 0 && 2 * bytes >= shared_.setBytes;
  }

  // Lists the slots for a pass, in order of their slots; returns the lanes they take.
  int64_t choose(Wanted pass, int64_t room) {
    std::vector<Slot*>& chosen = pass == Wanted::exact ? exact_ : screen_;
    chosen.clear();
    int64_t lanes = 0, seen = 0;
    for (Slot& slot : slots_) {
      if (slot.target < 0) continue;
      if (++seen > advancing_) break;
      if (slot.wants != pass) continue;
      const int64_t needed = pass == Wanted::exact && slot.solver->precise() ? 2 : 1;
      if (lanes + needed > room) break;
      lanes += needed;
      chosen.push_back(&slot);
    }
    return lanes;
  }

  void exactPass() {
    std::vector<TargetSolver*> solvers;
    for (Slot* slot : exact_) solvers.push_back(slot->solver.get());
    runner_.exact(solvers, largest_);
    for (size_t k = 0; k < exact_.size() && !shared_.control.aborted(); ++k) {
      proceed(*exact_[k], exact_[k]->solver->advance(largest_[k], shared_.control));
    }
  }

  void screenPass() {
    std::vector<TargetSolver*> solvers;
    for (Slot* slot : screen_) solvers.push_back(slot->solver.get());
    runner_.screen(solvers, found_);
    for (size_t k = 0; k < screen_.size() && !shared_.control.aborted(); ++k) {
      proceed(*screen_[k], screen_[k]->solver->advance(found_[k], shared_.control));
    }
  }

  Shared& shared_;
  PassRunner runner_;
  std::vector<Slot> slots_;
  int64_t live_ = 0, advancing_ = 0;  // targets in flight, and the first of them that passes serve
  std::vector<Slot*> exact_, screen_;  // of the next pass
  std::vector<double> largest_;
  std::vector<std::vector<int32_t>> found_;
  std::vector<float> values_;
  int64_t column_ = -1, chunkFrom_ = 0, chunkTo_ = 0;
};

Status invalid(const std::string& text) { return Status::error("LETHE_ARGUMENT_INVALID", text); }

Status checkFolds(const MaskView& masks, const FitOptions& options) {
  if (static_cast<int64_t>(options.fold.size()) != masks.numModels) return invalid("fold: expected one number a model.");
  int64_t kept = 0;
  const int64_t last = std::min<int64_t>(*std::max_element(options.fold.begin(), options.fold.end()), masks.numModels - 1);
  std::vector<int64_t> sizes(static_cast<size_t>(std::max<int64_t>(last + 1, 0)), 0);
  for (int32_t k : options.fold) {
    if (k < -1 || k >= masks.numModels) return invalid("fold: expected -1 or the number of a fold; received " + std::to_string(k) + ".");
    if (k >= 0) ++sizes[k];
    kept += k < 0;
  }
  for (int64_t size : sizes) {
    if (size == 0 || size == masks.numModels) return invalid("fold: expected every fold to hold out some models, but not all.");
  }
  if (sizes.empty()) return invalid("fold: expected at least one held-out model.");
  if (!options.refit && sizes.size() > 1) return invalid("refit: only one fold can be held out without a refit.");
  return Status::success();
}

Status checkOptions(const MaskView& masks, const FitOptions& options) {
  if (masks.numModels < 1 || masks.numTrain < 1) return invalid("masks: expected at least one model and one example.");
  if (masks.numModels > 65536) return invalid("masks: expected at most 65536 models; received " + std::to_string(masks.numModels) + ".");
  if (!(options.relaxation >= 0 && options.relaxation <= 1)) {
    return invalid("relaxation: expected a number from 0 to 1; received " + std::to_string(options.relaxation) + ".");
  }
  if (!(options.gapTolerance > 0)) return invalid("gapTolerance: expected a number > 0; received " + std::to_string(options.gapTolerance) + ".");
  if (options.fold.empty()) {
    if (!(options.lambda > 0) || std::isinf(options.lambda)) {
      return invalid("lambda: expected a finite number > 0 when no models are held out; received " + std::to_string(options.lambda) + ".");
    }
    return Status::success();
  }
  for (size_t k = 0; k < options.lambdas.size(); ++k) {
    const double lambda = options.lambdas[k];
    if (!(lambda > 0) || std::isinf(lambda) || (k > 0 && lambda >= options.lambdas[k - 1])) {
      return invalid("lambdas: expected finite numbers > 0, largest first and no two alike.");
    }
  }
  if (options.pathLength < 1) return invalid("pathLength: expected an integer >= 1; received " + std::to_string(options.pathLength) + ".");
  if (!(options.lambdaMinRatio > 0 && options.lambdaMinRatio < 1)) {
    return invalid("lambdaMinRatio: expected a number between 0 and 1; received " + std::to_string(options.lambdaMinRatio) + ".");
  }
  return checkFolds(masks, options);
}

}  // namespace

Status openDesign(const MaskView& masks, const FitOptions& options, int64_t numTargets, const TaskControl& control,
                  std::shared_ptr<const LassoDesign>& design) {
  Status status = checkOptions(masks, options);
  if (!status.ok()) return status;
  Isa isa;
  status = resolveIsa(options.isa, isa);
  if (!status.ok()) return status;
  auto opened = std::make_shared<LassoDesign>(masks, options, isa);
  if (options.estimator == Estimator::lasso && numTargets >= kTableTargets) opened->fillTables(options.gramBytes, options.threads, control);
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "the fit was stopped before it was complete.");
  design = std::move(opened);
  return Status::success();
}

DesignInfo describeDesign(const LassoDesign& design) {
  const int entryBytes = std::max(design.numFolds() > 0 ? design.withoutFold(0).table.entryBytes : 0, design.all().table.entryBytes);
  DesignInfo info;
  info.numModels = design.numModels();
  info.isa = isaName(design.isa());
  info.gram = entryBytes == 0 ? "counted" : entryBytes == 1 ? "table8" : "table16";
  info.bytes = design.bytes();
  // a path usually ends with a working set of less than a third of the models
  const int64_t rows = design.columns().rows, n = design.columns().columns, set = std::min(rows / 3, n);
  info.bytesPerThread =
      (rows + n) * 80 + design.kernels().passScratchBytes(rows) + kInFlight * (rows * 40 + n * 12 + set * set * (entryBytes == 1 ? 1 : 2) * 2);
  return info;
}

namespace {

Status run(Shared& shared) {
  const int64_t chunks = (shared.targets.numTargets + kChunk - 1) / kChunk;
  const int64_t threads = std::min<int64_t>(shared.options.threads > 0 ? shared.options.threads : allowedThreads(), chunks);
  if (shared.options.setBytes > 0) shared.setBytes = std::max<int64_t>(1, shared.options.setBytes / std::max<int64_t>(threads, 1));
  parallelFor(threads, static_cast<int>(threads), [&](int64_t, int) { Worker(shared).run(); });
  return shared.control.aborted() ? Status::error("LETHE_TASK_ABORTED", "the fit was stopped before it was complete.") : Status::success();
}

}  // namespace

Status checkTargets(const TargetView& targets, const FitOptions& options) {
  if (targets.rowStride < targets.numTargets) return invalid("targets: expected a row stride of at least the number of targets.");
  if (targets.targetsPerWeight < 1) return invalid("targetsPerWeight: expected an integer >= 1.");
  if (options.pooled && !targets.lambdaRatio && targets.numTargets > 0)
    return invalid("lambdaRatio: expected one a target, since lambda is chosen for many together.");
  for (int64_t t = 0; t < targets.numTargets; ++t) {
    const double ratio = targets.lambdaRatio ? targets.lambdaRatio[t] : 1, relaxation = targets.relaxation ? targets.relaxation[t] : 0;
    if (!(ratio > 0) || std::isinf(ratio)) return invalid("lambdaRatio: expected finite numbers > 0; received " + std::to_string(ratio) + ".");
    if (!(relaxation >= 0 && relaxation <= 1)) return invalid("relaxation: expected numbers from 0 to 1; received " + std::to_string(relaxation) + ".");
  }
  return Status::success();
}

Status fitDatamodels(const LassoDesign& design, const TargetView& targets, const FitOptions& options, const TaskControl& control,
                     std::vector<TargetFit>& fits) {
  const Status status = checkTargets(targets, options);
  if (!status.ok()) return status;
  fits.assign(targets.numTargets, TargetFit{});
  Shared shared{design, targets, options, control, &fits, nullptr, nullptr};
  return run(shared);
}

Status scorePaths(const LassoDesign& design, const TargetView& targets, const FitOptions& options, const std::vector<double>& relaxations,
                  const TaskControl& control, std::vector<PathScore>& scores) {
  if (design.numFolds() != 1) return invalid("fold: expected one set of held-out models to score paths on.");
  if (!options.lambdas.empty()) return invalid("lambdas: expected none; scores are of shares of lambda_max.");
  for (double relaxation : relaxations) {
    if (!(relaxation >= 0 && relaxation <= 1)) return invalid("relaxations: expected numbers from 0 to 1; received " + std::to_string(relaxation) + ".");
  }
  TargetView unchosen = targets;
  unchosen.lambdaRatio = unchosen.relaxation = nullptr;
  FitOptions each = options;
  each.pooled = false;
  const Status status = checkTargets(unchosen, each);
  if (!status.ok()) return status;
  scores.assign(targets.numTargets, PathScore{});
  Shared shared{design, unchosen, each, control, nullptr, &relaxations, &scores};
  return run(shared);
}

}  // namespace lethe
