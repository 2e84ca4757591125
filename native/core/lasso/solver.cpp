// The Lasso of one target: a warm-started path on a working set, then certification at the chosen lambda.
#include <algorithm>
#include <cmath>

#include "core/lasso/target.h"
#include "core/lasso/working_set.h"

namespace lethe {

namespace {

// lambda this close to lambda_max counts as lambda_max: all weights zero, at a relative gap of 1e-10.
constexpr double kAtMaximum = 1 - 1e-5;
// The path only chooses lambda. It is solved at every lambda that is about this share of the one before, to this gap, with one pass over
// the design each; between two solutions it is taken as linear in lambda, which it is but for the columns that come or go on the way.
constexpr double kStep = 0.865, kPathGap = 1e-2;
// A given lambda is reached by longer steps, but never at once: a cold solve explodes the working set.
constexpr double kWarmStep = 0.65;
// Columns join when their correlation reaches this share of the next lambda to be solved. On the path that is a little late for some,
// which the next pass finds; the sequential strong rule would let in several times as many as are needed.
constexpr double kPathEntry = 1.04, kEntry = 0.98;
constexpr int64_t kPatience = 20;  // the path ends when the best held-out error is this many lambdas back: for 99 of 100 targets it is the best of all
constexpr double kPreciseGap = 1e-5;  // gaps below it need correlations and gradients in double
constexpr int64_t kFinalRounds = 100, kFloatRounds = 6;
constexpr int64_t kPathSweeps = 200, kFinalSweeps = 1000;
constexpr double kCrowded = 0.25;  // a scored path ends where this share of the number of models has weights: noise, and most of the time

class LassoSolver final : public TargetSolver {
 public:
  LassoSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored) : TargetSolver(design, options, scored), set_(design) {}

  int64_t setBytes() const override { return set_.bytes(); }

  Wanted advance(double largest, const TaskControl& control) override {
    if (phase_ == Phase::final) return certify(largest, control);
    return beginPath(largest / count(), control);
  }

  Wanted advance(const std::vector<int32_t>& found, const TaskControl& control) override {
    set_.shrink(entry() * next_ * count());
    const int64_t before = set_.size();
    for (int32_t column : found) admit(column);
    set_.complete();
    set_.deriveGradient(before, correlation().data());
    return step(control);
  }

 protected:
  Wanted start() override {
    lambdas_.clear();
    errors_.clear();
    fold_ = -1;
    return nextFold();
  }

 private:
  enum class Phase { path, final };

  // The path without the next fold, or the end of all paths.
  Wanted nextFold() {
    phase_ = Phase::path;
    precise_ = false;
    solution_.clear();
    while (selecting() && ++fold_ < design_.numFolds()) {
      if (!useRows(rows(fold_))) continue;
      set_.reset(subset(), false);
      setResidual(solution_);
      return Wanted::exact;
    }
    if (scoring()) return Wanted::none;
    if (selecting()) return endPaths();
    useRows(rows(-1));
    set_.reset(subset(), false);
    setResidual(solution_);
    return Wanted::exact;
  }

  // From all weights zero at the largest correlation, in the unit of the target on these models.
  Wanted beginPath(double largest, const TaskControl& control) {
    grid_.clear();
    if (!selecting()) {
      grid_.push_back(lambdaRatio_ > 0 ? lambdaRatio_ * largest : options_.lambda / scale_);
      if (grid_[0] >= largest * kAtMaximum) return beginFinal(grid_[0], solution_);
    } else if (lambdas_.empty()) {
      grid_ = lambdaGrid(largest);
      for (double lambda : grid_) lambdas_.push_back(lambda * scale_);
      errors_.assign(lambdas_.size(), 0.0);
      reached_ = static_cast<int64_t>(lambdas_.size());
    } else {
      for (double lambda : lambdas_) grid_.push_back(lambda / scale_);
    }
    pathScale_ = scale_;
    at_ = largest;
    covered_ = best_ = 0;
    bestError_ = HUGE_VAL;
    bestSolution_.clear();
    if (scoring()) beginScores(size());
    if (selecting()) {
      heldOutErrors(solution_, heldOut_);
      while (covered_ < size() && (covered_ == 0 || grid_[covered_] >= largest)) record(covered_++, square(heldOut_, heldOut_), 0.0);
      if (largest == 0 || covered_ == size()) return endPath(covered_);
    }
    chooseNext();
    const std::vector<double>& c = correlation();
    const float* factors = factor();
    for (size_t j = 0; j < c.size(); ++j) {
      if (std::fabs(c[j]) >= entry() * next_ * count() * (factors ? static_cast<double>(factors[j]) : 1.0)) admit(static_cast<int32_t>(j));
    }
    set_.complete();
    set_.deriveGradient(0, c.data());
    before_ = 0;
    return step(control);
  }

  int64_t size() const { return static_cast<int64_t>(grid_.size()); }

  void admit(int32_t column) {
    if (!set_.has(column) && !subset().constant(column)) set_.add(column, 0.0);
  }

  // The farthest lambda within a step, or a point on the way where the grid is coarser.
  void chooseNext() {
    const double shortest = at_ * (selecting() ? kStep : kWarmStep);
    next_ = std::max(shortest, grid_.back());
    int64_t to = covered_;
    while (to < size() && grid_[to] >= shortest) next_ = grid_[to++];
  }

  // Solves at next_; the working set holds what a pass found for it, and the gradient of the present weights.
  Wanted step(const TaskControl& control) {
    set_.extrapolate(before_ > 0 ? (at_ - next_) / (before_ - at_) : 0.0, correlation().data());
    set_.solve(next_ * count(), factor(), stepTolerance(kPathGap, next_), kPathSweeps, control);
    before_ = at_;
    at_ = next_;
    std::swap(previous_, solution_);
    collect();
    if (selecting()) {
      std::swap(previousHeldOut_, heldOut_);
      heldOutErrors(solution_, heldOut_);
      if (scoring()) scoreStep();
      recordStep();
      if (covered_ == size() || (scoring() ? crowded() : risen()) || control.aborted()) return endPath(covered_);
    } else if (at_ <= grid_.back()) {
      return beginFinal(at_, solution_);
    }
    chooseNext();
    setScreenResidual(solution_, entry() * next_ * count() * smallestFactor(), at_ * count() * largestFactor());
    return Wanted::screen;
  }

  double entry() const { return selecting() || next_ > grid_.back() ? kPathEntry : kEntry; }
  double smallestFactor() const { return factor() ? static_cast<double>(*std::min_element(factor(), factor() + correlationSize())) : 1.0; }
  double largestFactor() const { return factor() ? static_cast<double>(*std::max_element(factor(), factor() + correlationSize())) : 1.0; }
  int64_t correlationSize() const { return design_.columns().columns; }

  // A step that leaves the correlations within a share e of lambda costs about 2 e lambda ||w||_1 of relative gap.
  double stepTolerance(double gap, double lambda) const { return 0.5 * gap / std::max(lambda * penalised(solution_), 0.02); }

  void collect() {
    solution_.clear();
    for (int64_t p = 0; p < set_.size(); ++p) {
      if (set_.weight(p) != 0) solution_.push(set_.columns()[p], set_.weight(p));
    }
  }

  static double square(const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
  }

  // Held-out errors of the lambdas between the last two solutions: of weights in between, so quadratic in their share.
  void recordStep() {
    const double old = square(previousHeldOut_, previousHeldOut_), mixed = square(previousHeldOut_, heldOut_), now = square(heldOut_, heldOut_);
    for (; covered_ < size() && grid_[covered_] >= at_; ++covered_) {
      const double share = (grid_[covered_] - at_) / (before_ - at_), rest = 1 - share;  // of the solution before
      record(covered_, share * share * old + 2 * share * rest * mixed + rest * rest * now, share);
    }
  }

  // The same for scores, with least squares on the support beside it.
  void scoreStep() {
    std::vector<int32_t> positions;
    std::vector<double> gradient, change;
    for (int64_t p = 0; p < set_.size(); ++p) {
      if (set_.weight(p) == 0) continue;
      positions.push_back(static_cast<int32_t>(p));
      gradient.push_back(static_cast<double>(set_.gradient(p)));
    }
    set_.solveLeastSquares(positions, gradient, change);
    SparseWeights refitted = solution_;
    for (size_t k = 0; k < change.size(); ++k) refitted.weights[k] += change[k];
    heldOutErrors(refitted, refittedHeldOut_);
    scorer_.add(heldOut_, refittedHeldOut_);
  }

  // Far beyond the support that a target's models can tell from noise.
  bool crowded() const { return static_cast<double>(solution_.size()) > kCrowded * count(); }

  void record(int64_t k, double error, double shareOfPrevious) {
    if (scoring()) return scorer_.record(k, shareOfPrevious);
    errors_[k] += error * scale_ * scale_;
    if (!(error < bestError_)) return;
    best_ = k;
    bestError_ = error;
    bestSolution_.clear();
    for (int64_t i = 0; i < solution_.size(); ++i) bestSolution_.push(solution_.columns[i], (1 - shareOfPrevious) * solution_.weights[i]);
    if (shareOfPrevious > 0) {
      for (int64_t i = 0; i < previous_.size(); ++i) bestSolution_.push(previous_.columns[i], shareOfPrevious * previous_.weights[i]);
    }
  }

  bool risen() const { return covered_ - 1 - best_ >= kPatience; }

  Wanted endPath(int64_t covered) {
    reached_ = std::min(reached_, covered);
    return nextFold();
  }

  Wanted endPaths() {
    if (lambdas_.empty()) {
      // spread only among the held-out models: nothing to choose lambda by, so everything is zero at lambda_max of all
      useRows(rows(-1));
      return beginFinal(HUGE_VAL, bestSolution_);
    }
    const int64_t best = std::min_element(errors_.begin(), errors_.begin() + reached_) - errors_.begin();
    if (options_.refit) useRows(rows(-1));
    for (double& weight : bestSolution_.weights) weight *= pathScale_ / scale_;
    return beginFinal(lambdas_[best] / scale_, bestSolution_);
  }

  // From a warm start on the rows in use.
  Wanted beginFinal(double lambda, const SparseWeights& from) {
    phase_ = Phase::final;
    precise_ = options_.gapTolerance < kPreciseGap;
    lambda_ = lambda;
    round_ = 0;
    tighten_ = 1;
    const bool sameRows = !selecting() || !options_.refit;
    const bool solvable = sameRows && set_.size() > 0 && lambda_ != HUGE_VAL && !precise_;  // from what the path knows
    if (!sameRows || set_.size() == 0) set_.reset(subset(), precise_);
    if (precise_) set_.makePrecise();
    set_.clearWeights();
    for (int64_t k = 0; k < from.size(); ++k) {
      const int32_t column = from.columns[k];
      if (!set_.has(column)) set_.add(column, from.weights[k]);
      else set_.setWeight(column, set_.weightOf(column) + from.weights[k]);
    }
    collect();
    if (solvable) return solveFinal(true);
    setResidual(solution_);
    return Wanted::exact;
  }

  Wanted solveFinal(bool derive) {
    set_.complete();
    if (derive) set_.deriveGradient(0, correlation().data());
    else set_.setGradient(correlation().data());
    ++round_;
    const TaskControl unstoppable;  // the driver looks at the flag between passes
    set_.solve(lambda_ * count(), factor(), tighten_ * stepTolerance(options_.gapTolerance, lambda_), kFinalSweeps, unstoppable);
    collect();
    setResidual(solution_);
    return Wanted::exact;
  }

  Wanted certify(double largest, const TaskControl& control) {
    if (lambda_ == HUGE_VAL) lambda_ = largest / count();
    const double gap = relativeGap(largest, lambda_, penalised(solution_));
    // a warm start that happens to pass is still solved once, so that zeros are exact
    const bool solved = round_ > 0 || largest * kAtMaximum <= lambda_ * count();
    if ((gap <= options_.gapTolerance && solved) || round_ == kFinalRounds || control.aborted()) {
      conclude(gap <= options_.gapTolerance ? FitStatus::converged : FitStatus::unconverged, lambda_, gap, solution_, set_);
      return Wanted::none;
    }
    const int64_t before = set_.size();
    const std::vector<double>& c = correlation();
    const float* factors = factor();
    for (size_t j = 0; j < c.size(); ++j) {
      if (std::fabs(c[j]) >= kEntry * lambda_ * count() * (factors ? static_cast<double>(factors[j]) : 1.0)) admit(static_cast<int32_t>(j));
    }
    if (round_ > 0 && set_.size() == before) tighten_ *= 0.25;
    if (round_ == kFloatRounds && !precise_) {
      precise_ = true;
      set_.makePrecise();
    }
    return solveFinal(false);
  }

  WorkingSet set_;
  Phase phase_ = Phase::path;
  int64_t fold_ = -1;
  std::vector<double> lambdas_, errors_;  // to choose from, in the unit of the target; summed over the folds
  int64_t reached_ = 0;                   // lambdas that every fold has reached
  std::vector<double> grid_;              // lambdas_ in the unit of the present models
  double pathScale_ = 1;                  // that unit
  int64_t covered_ = 0, best_ = 0;        // lambdas with an error on this path, the best of them
  double bestError_ = 0;
  double before_ = 0, at_ = 0, next_ = 0;          // lambda of the previous solution, the present one, the next
  SparseWeights previous_, solution_, bestSolution_;  // bestSolution_ may list a column twice: shares of two solutions
  std::vector<float> previousHeldOut_, heldOut_, refittedHeldOut_;
  double lambda_ = 0, tighten_ = 1;  // of the final fit
  int64_t round_ = 0;
};

}  // namespace

std::unique_ptr<TargetSolver> makeLassoSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored) {
  return std::make_unique<LassoSolver>(design, options, scored);
}

}  // namespace lethe
