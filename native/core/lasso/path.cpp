#include "core/lasso/path.h"

#include <algorithm>
#include <cmath>

namespace lethe {

double stepTolerance(double gap, double lambda, double penalised) { return 0.5 * gap / std::max(lambda * penalised, 0.02); }

double relativeGap(double squares, double product, double largest, double lambda, double penalised) {
  if (squares == 0) return 2 * lambda * penalised;  // a perfect fit: the dual point is 0
  // the best dual feasible multiple of the residual: |x_j^T s r| / m <= lambda factor_j
  double s = product / squares;
  if (largest > 0) s = std::min(s, lambda / largest);
  const double primal = squares / 2 + lambda * penalised;
  const double dual = s * product - s * s * squares / 2;
  return std::max(0.0, 2 * (primal - dual));  // y has mean square 1
}

void LambdaPath::begin(double largest, double scale) {
  scale_ = scale;
  grid_.clear();
  if (!selecting()) {
    grid_.push_back(lambdaRatio_ > 0 ? lambdaRatio_ * largest : options_.lambda / scale);
  } else if (lambdas_.empty()) {
    for (double lambda : options_.lambdas) grid_.push_back(lambda / scale);
    const double steps = static_cast<double>(std::max<int64_t>(options_.pathLength - 1, 1));
    for (int64_t k = 0; options_.lambdas.empty() && k < options_.pathLength; ++k) {
      grid_.push_back(largest * std::pow(options_.lambdaMinRatio, static_cast<double>(k) / steps));
    }
    for (double lambda : grid_) lambdas_.push_back(lambda * scale);
    errors_.assign(lambdas_.size(), 0.0);
    reached_ = size();
  } else {
    for (double lambda : lambdas_) grid_.push_back(lambda / scale);
  }
  at_ = largest;
  before_ = 0;
  covered_ = best_ = 0;
  bestError_ = HUGE_VAL;
}

void LambdaPath::chooseNext() {
  const double shortest = at_ * (selecting() ? kStep : kWarmStep);
  next_ = std::max(shortest, grid_.back());
  for (int64_t to = covered_; to < size() && grid_[to] >= shortest; ++to) next_ = grid_[to];
}

void LambdaPath::step() {
  before_ = at_;
  at_ = next_;
}

const std::vector<Covered>& LambdaPath::cover() {
  since_.clear();
  const bool start = before_ == 0;
  for (; covered_ < size() && (grid_[covered_] >= at_ || (start && covered_ == 0)); ++covered_) {
    since_.push_back({covered_, start ? 0.0 : (grid_[covered_] - at_) / (before_ - at_)});
  }
  return since_;
}

double LambdaPath::addErrors(double previous, double mixed, double present) {
  double bestShare = -1;
  for (const auto& [lambda, share] : since_) {
    const double rest = 1 - share;  // weights are linear in lambda, squares quadratic in their share
    if (add(lambda, share * share * previous + 2 * share * rest * mixed + rest * rest * present)) bestShare = share;
  }
  return bestShare;
}

void LambdaPath::addError(double error) { add(covered_++, error); }

bool LambdaPath::add(int64_t lambda, double error) {
  errors_[lambda] += error * scale_ * scale_;
  if (!(error < bestError_)) return false;
  best_ = lambda;
  bestError_ = error;
  return true;
}

void LambdaPath::endFold() { reached_ = std::min(reached_, std::max<int64_t>(covered_, 1)); }

double LambdaPath::chosen() const { return lambdas_[std::min_element(errors_.begin(), errors_.begin() + reached_) - errors_.begin()]; }

LambdaPath::Verdict LambdaPath::certify(double gap, double largest, double lambda) const {
  // a warm start that happens to pass is still solved once, so that zeros are exact
  const bool solved = round_ > 0 || largest * kAtMaximum <= lambda;
  if (gap <= options_.gapTolerance && solved) return Verdict::converged;
  return round_ == kFinalRounds ? Verdict::unconverged : Verdict::solve;
}

void LambdaPath::beginRound(bool grew) {
  if (round_ > 0 && !grew) tighten_ *= kTightening;
  ++round_;
}

}  // namespace lethe
