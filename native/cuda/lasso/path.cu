#include "cuda/lasso/path.h"

#include <algorithm>
#include <cmath>

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

// As on the CPU, where they are explained (core/lasso/solver.cpp).
constexpr double kAtMaximum = 1 - 1e-5, kStep = 0.865, kPathGap = 1e-2, kWarmStep = 0.65, kPathEntry = 1.04, kEntry = 0.98;
constexpr int64_t kPatience = 20, kFinalRounds = 100;
constexpr int32_t kPathSweeps = 200, kFinalSweeps = 1000;

}  // namespace

TargetPath::TargetPath(const FitOptions& options, const std::vector<Subset>& subsets, double lambdaRatio)
    : options_(options), subsets_(subsets), lambdaRatio_(lambdaRatio) {
  nextFold();
}

void TargetPath::useSubset(int32_t subset) {
  command_.subset = subset;
  command_.count = subsets_[static_cast<size_t>(subset)].count;
  command_.heldFrom = subsets_[static_cast<size_t>(subset)].heldFrom;
  command_.heldTo = subsets_[static_cast<size_t>(subset)].heldTo;
}

// The path without the next fold, or the end of all paths.
void TargetPath::nextFold() {
  fresh_ = true;
  if (selecting() && ++fold_ == folds()) {
    final_ = true;
    command_.restart = Restart::best;
    command_.bestScale = scale_;
    if (options_.refit || lambdas_.empty()) useSubset(folds());
    if (lambdas_.empty()) {
      bestLambda_ = HUGE_VAL;  // spread only among the held-out models: everything is zero at lambda_max of all
    } else {
      bestLambda_ = lambdas_[static_cast<size_t>(std::min_element(errors_.begin(), errors_.begin() + reached_) - errors_.begin())];
    }
    return;
  }
  command_.restart = Restart::empty;
  command_.bestShare = -1;
  useSubset(selecting() ? fold_ : folds());
}

void TargetPath::endPath() {
  reached_ = std::min(reached_, covered_);
  nextFold();
}

TargetPath::Next TargetPath::correlated(const Outcome& outcome) {
  command_.restart = Restart::none;
  command_.bestShare = -1;
  if (!final_ && !outcome.usable) {  // constant without this fold
    nextFold();
    return Next::correlate;
  }
  scale_ = outcome.scale;
  if (final_) return certify(outcome);
  if (fresh_) return beginPath(outcome);
  const bool last = !selecting() && !(next_ > grid_.back());
  orderStep(kPathGap / std::max(at_ * outcome.penalised, 0.02), kPathSweeps, next_, last ? kEntry : kPathEntry);
  return Next::step;
}

void TargetPath::orderStep(double twiceTolerance, int32_t sweeps, double lambda, double entry) {
  // a step that leaves the correlations within a share e of lambda costs about 2 e lambda ||w||_1 of relative gap
  command_.tolerance = 0.5 * twiceTolerance;
  command_.tightening = 1;
  command_.maxSweeps = sweeps;
  command_.penalty = lambda * count();
  command_.entry = entry * lambda * count();
  command_.firstStep = fresh_ && !final_;
}

// From all weights zero at the largest correlation.
TargetPath::Next TargetPath::beginPath(const Outcome& outcome) {
  const double largest = outcome.largest / count();
  grid_.clear();
  if (!selecting()) {
    bestLambda_ = lambdaRatio_ > 0 ? lambdaRatio_ * largest * scale_ : options_.lambda;
    grid_.push_back(bestLambda_ / scale_);
    if (grid_[0] >= largest * kAtMaximum) {
      final_ = true;
      return Next::correlate;
    }
  } else if (lambdas_.empty()) {
    const double steps = static_cast<double>(std::max<int64_t>(options_.pathLength - 1, 1));
    for (double lambda : options_.lambdas) grid_.push_back(lambda / scale_);
    for (int64_t k = 0; options_.lambdas.empty() && k < options_.pathLength; ++k) {
      grid_.push_back(largest * std::pow(options_.lambdaMinRatio, static_cast<double>(k) / steps));
    }
    for (double lambda : grid_) lambdas_.push_back(lambda * scale_);
    errors_.assign(lambdas_.size(), 0.0);
    reached_ = size();
  } else {
    for (double lambda : lambdas_) grid_.push_back(lambda / scale_);
  }
  at_ = largest;
  before_ = 0;
  covered_ = best_ = 0;
  bestError_ = HUGE_VAL;
  if (selecting()) {
    while (covered_ < size() && (covered_ == 0 || grid_[static_cast<size_t>(covered_)] >= largest)) record(covered_++, outcome.zeroHeldOut, 0.0);
    command_.bestShare = -1;  // of zero weights: there is nothing to keep
    if (largest == 0 || covered_ == size()) {
      endPath();
      return Next::correlate;
    }
  }
  chooseNext();
  const bool last = !selecting() && !(next_ > grid_.back());
  orderStep(kPathGap / 0.02, kPathSweeps, next_, last ? kEntry : kPathEntry);
  fresh_ = false;
  return Next::step;
}

// The farthest lambda within a step, or a point on the way where the grid is coarser.
void TargetPath::chooseNext() {
  const double shortest = at_ * (selecting() ? kStep : kWarmStep);
  next_ = std::max(shortest, grid_.back());
  for (int64_t to = covered_; to < size() && grid_[static_cast<size_t>(to)] >= shortest; ++to) next_ = grid_[static_cast<size_t>(to)];
}

void TargetPath::record(int64_t k, double error, double shareOfPrevious) {
  errors_[static_cast<size_t>(k)] += error * scale_ * scale_;
  if (!(error < bestError_)) return;
  best_ = k;
  bestError_ = error;
  command_.bestShare = shareOfPrevious;
}

void TargetPath::stepped(const Outcome& outcome) {
  if (final_) {
    if (round_ > 0 && outcome.admitted == 0) tighten_ *= 0.25;
    ++round_;
    return;
  }
  before_ = at_;
  at_ = next_;
  if (!selecting()) {
    if (at_ <= grid_.back()) {
      final_ = fresh_ = true;
    } else {
      chooseNext();
    }
    return;
  }
  // held-out errors of the lambdas between the last two solutions: of weights in between, so quadratic in their share
  for (; covered_ < size() && grid_[static_cast<size_t>(covered_)] >= at_; ++covered_) {
    const double share = (grid_[static_cast<size_t>(covered_)] - at_) / (before_ - at_), rest = 1 - share;  // of the solution before
    record(covered_, share * share * outcome.heldBefore + 2 * share * rest * outcome.heldMixed + rest * rest * outcome.heldNow, share);
  }
  const bool risen = covered_ - 1 - best_ >= kPatience;
  if (covered_ == size() || risen) endPath();
  else chooseNext();
}

TargetPath::Next TargetPath::certify(const Outcome& outcome) {
  if (fresh_) lambda_ = bestLambda_ == HUGE_VAL ? outcome.largest / count() : bestLambda_ / scale_;
  fresh_ = false;
  gap_ = relativeGap(outcome);
  // a warm start that happens to pass is still solved once, so that zeros are exact
  const bool solved = round_ > 0 || outcome.largest * kAtMaximum <= lambda_ * count();
  if ((gap_ <= options_.gapTolerance && solved) || round_ == kFinalRounds) {
    status_ = gap_ <= options_.gapTolerance ? FitStatus::converged : FitStatus::unconverged;
    return Next::done;
  }
  orderStep(tighten_ * options_.gapTolerance / std::max(lambda_ * outcome.penalised, 0.02), kFinalSweeps, lambda_, kEntry);
  if (round_ > 0) command_.tightening = 0.25;
  return Next::step;
}

double TargetPath::relativeGap(const Outcome& outcome) const {
  const double squares = outcome.squares / count(), product = outcome.product / count(), largest = outcome.largest / count();
  if (squares == 0) return 2 * lambda_ * outcome.penalised;  // a perfect fit: the dual point is 0
  // the best dual feasible multiple of the residual: |x_j^T s r| / m <= lambda factor_j
  double s = product / squares;
  if (largest > 0) s = std::min(s, lambda_ / largest);
  const double primal = squares / 2 + lambda_ * outcome.penalised, dual = s * product - s * s * squares / 2;
  return std::max(0.0, 2 * (primal - dual));  // y has mean square 1
}

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
