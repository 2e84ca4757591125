// The Lasso of one target: a warm-started path on a working set, then certification at the chosen lambda.
#include <algorithm>
#include <cmath>

#include "core/lasso/target.h"
#include "core/lasso/working_set.h"

namespace lethe {

namespace {

constexpr double kPreciseGap = 1e-5;  // gaps below it need correlations and gradients in double
constexpr int64_t kFloatRounds = 6;
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
    set_.shrink(path_->entry() * path_->next() * count());
    const int64_t before = set_.size();
    for (int32_t column : found) admit(column);
    set_.complete();
    set_.deriveGradient(before, correlation().data());
    return step(control);
  }

 protected:
  Wanted start() override { return nextFold(); }

 private:
  enum class Phase { path, final };

  // The path without the next fold, or the end of all paths.
  Wanted nextFold() {
    phase_ = Phase::path;
    precise_ = false;
    solution_.clear();
    while (path_->nextFold(design_.numFolds())) {
      if (!useRows(rows(path_->fold()))) continue;
      set_.reset(rowSet(), false);
      setResidual(solution_);
      return Wanted::exact;
    }
    if (scoring()) return Wanted::none;
    if (selecting()) return endPaths();
    useRows(rows(-1));
    set_.reset(rowSet(), false);
    setResidual(solution_);
    return Wanted::exact;
  }

  // From all weights zero at the largest correlation, in the unit of the target on these models.
  Wanted beginPath(double largest, const TaskControl& control) {
    path_->begin(largest, scale_);
    if (path_->atMaximum()) return beginFinal(path_->given(), solution_);
    bestSolution_.clear();
    if (scoring()) beginScores(static_cast<int64_t>(path_->lambdas().size()));
    if (selecting()) {
      heldOutErrors(solution_, heldOut_);
      record(0, 0, square(heldOut_, heldOut_));
      if (path_->ended()) return endPath();
    }
    path_->chooseNext();
    const std::vector<double>& c = correlation();
    const float* factors = factor();
    for (size_t j = 0; j < c.size(); ++j) {
      if (std::fabs(c[j]) >= path_->entry() * path_->next() * count() * (factors ? static_cast<double>(factors[j]) : 1.0)) admit(static_cast<int32_t>(j));
    }
    set_.complete();
    set_.deriveGradient(0, c.data());
    return step(control);
  }

  void admit(int32_t column) {
    if (!set_.has(column) && !rowSet().constant(column)) set_.add(column, 0.0);
  }

  // Solves at the path's next lambda; the working set holds what a pass found for it, and the gradient of the present weights.
  Wanted step(const TaskControl& control) {
    set_.extrapolate(path_->extrapolation(), correlation().data());
    const double tolerance = stepTolerance(kPathGap, path_->next(), penalised(solution_));
    set_.solve(path_->next() * count(), factor(), tolerance, kPathSweeps, control);
    path_->step();
    std::swap(previous_, solution_);
    collect();
    if (selecting()) {
      std::swap(previousHeldOut_, heldOut_);
      heldOutErrors(solution_, heldOut_);
      if (scoring()) scoreStep();
      record(square(previousHeldOut_, previousHeldOut_), square(previousHeldOut_, heldOut_), square(heldOut_, heldOut_));
      if (path_->ended() || (scoring() ? crowded() : path_->risen()) || control.aborted()) return endPath();
    } else if (path_->arrived()) {
      return beginFinal(path_->at(), solution_);
    }
    path_->chooseNext();
    setScreenResidual(solution_, path_->entry() * path_->next() * count() * smallestFactor(), path_->at() * count() * largestFactor());
    return Wanted::screen;
  }

  double smallestFactor() const { return factor() ? static_cast<double>(*std::min_element(factor(), factor() + correlationSize())) : 1.0; }
  double largestFactor() const { return factor() ? static_cast<double>(*std::max_element(factor(), factor() + correlationSize())) : 1.0; }
  int64_t correlationSize() const { return design_.columns().columns; }

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

  // What the path has come to since the last solution; arguments: see LambdaPath::addErrors().
  void record(double previous, double mixed, double present) {
    const std::vector<Covered>& covered = path_->cover();
    if (scoring()) {
      for (const auto& [lambda, share] : covered) scorer_.record(lambda, share);
      return;
    }
    const double share = path_->addErrors(previous, mixed, present);
    if (share < 0) return;
    bestSolution_.clear();
    for (int64_t i = 0; i < solution_.size(); ++i) bestSolution_.push(solution_.columns[i], (1 - share) * solution_.weights[i]);
    if (share > 0) {
      for (int64_t i = 0; i < previous_.size(); ++i) bestSolution_.push(previous_.columns[i], share * previous_.weights[i]);
    }
  }

  // Held-out errors for scores, with least squares on the support beside them.
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

  Wanted endPath() {
    path_->endFold();
    return nextFold();
  }

  Wanted endPaths() {
    if (path_->nothingToChooseBy()) {
      useRows(rows(-1));
      return beginFinal(HUGE_VAL, bestSolution_);
    }
    if (options_.refit) useRows(rows(-1));
    for (double& weight : bestSolution_.weights) weight *= path_->scale() / scale_;
    return beginFinal(path_->chosen() / scale_, bestSolution_);
  }

  // From a warm start on the rows in use.
  Wanted beginFinal(double lambda, const SparseWeights& from) {
    phase_ = Phase::final;
    precise_ = options_.gapTolerance < kPreciseGap;
    lambda_ = lambda;
    const bool sameRows = !selecting() || !options_.refit;
    const bool solvable = sameRows && set_.size() > 0 && lambda_ != HUGE_VAL && !precise_;  // from what the path knows
    if (!sameRows || set_.size() == 0) set_.reset(rowSet(), precise_);
    if (precise_) set_.makePrecise();
    set_.clearWeights();
    for (int64_t k = 0; k < from.size(); ++k) {
      const int32_t column = from.columns[k];
      if (!set_.has(column)) set_.add(column, from.weights[k]);
      else set_.setWeight(column, set_.weightOf(column) + from.weights[k]);
    }
    collect();
    if (solvable) return solveFinal(true, true);
    setResidual(solution_);
    return Wanted::exact;
  }

  Wanted solveFinal(bool grew, bool derive) {
    set_.complete();
    if (derive) set_.deriveGradient(0, correlation().data());
    else set_.setGradient(correlation().data());
    path_->beginRound(grew);
    const TaskControl unstoppable;  // the driver looks at the flag between passes
    set_.solve(lambda_ * count(), factor(), path_->finalTolerance(lambda_, penalised(solution_)), kFinalSweeps, unstoppable);
    collect();
    setResidual(solution_);
    return Wanted::exact;
  }

  Wanted certify(double largest, const TaskControl& control) {
    if (lambda_ == HUGE_VAL) lambda_ = largest / count();
    const double gap = relativeGap(largest, lambda_, penalised(solution_));
    const LambdaPath::Verdict verdict = path_->certify(gap, largest, lambda_ * count());
    if (verdict != LambdaPath::Verdict::solve || control.aborted()) {
      conclude(gap <= options_.gapTolerance ? FitStatus::converged : FitStatus::unconverged, lambda_, gap, solution_, set_);
      return Wanted::none;
    }
    const int64_t before = set_.size();
    const std::vector<double>& c = correlation();
    const float* factors = factor();
    for (size_t j = 0; j < c.size(); ++j) {
      if (std::fabs(c[j]) >= kCertifyEntry * lambda_ * count() * (factors ? static_cast<double>(factors[j]) : 1.0)) admit(static_cast<int32_t>(j));
    }
    if (path_->round() == kFloatRounds && !precise_) {
      precise_ = true;
      set_.makePrecise();
    }
    return solveFinal(set_.size() != before, false);
  }

  WorkingSet set_;
  Phase phase_ = Phase::path;
  SparseWeights previous_, solution_, bestSolution_;  // bestSolution_ may list a column twice: shares of two solutions
  std::vector<float> previousHeldOut_, heldOut_, refittedHeldOut_;
  double lambda_ = 0;  // of the final fit
};

}  // namespace

std::unique_ptr<TargetSolver> makeLassoSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored) {
  return std::make_unique<LassoSolver>(design, options, scored);
}

}  // namespace lethe
