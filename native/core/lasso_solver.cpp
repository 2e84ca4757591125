// The Lasso of one target: a warm-started path on a working set, then certification at the chosen lambda.
#include <algorithm>
#include <cmath>

#include "core/lasso_target.h"
#include "core/lasso_working_set.h"

namespace lethe {

namespace {

// lambda this close to lambda_max counts as lambda_max: all weights zero, at a relative gap of 1e-10.
constexpr double kAtMaximum = 1 - 1e-5;
// Path points only choose lambda: solved to this relative gap, checked once a batch.
constexpr double kPathGap = 3e-4;
constexpr int64_t kLambdasPerPass = 3;
// Columns join when their correlation reaches this share of the next lambda to be solved; the sequential strong rule would let in several
// times as many, and what this one misses is found by the next pass.
constexpr double kEntry = 0.96;
// The path ends when the best held-out error is this many lambdas back and the error has risen by this share, or after twice as many.
constexpr int64_t kPatience = 5;
constexpr double kRise = 1.005;
// A given lambda is reached by steps of at most this ratio: a cold solve explodes the working set.
constexpr double kWarmRatio = 0.65;
constexpr int64_t kPathRepairs = 5, kFinalRounds = 100;
constexpr int64_t kPathSweeps = 500, kFinalSweeps = 1000;

class LassoSolver final : public TargetSolver {
 public:
  LassoSolver(const LassoDesign& design, const LassoKernels& kernels, const FitOptions& options)
      : TargetSolver(design, kernels, options), set_(design, kernels) {}

  bool advance(double largest, const TaskControl& control) override {
    switch (phase_) {
      case Phase::first: return beginPath(largest, control);
      case Phase::path: return stepPath(largest, control);
      default: return stepFinal(largest, control);
    }
  }

 protected:
  void start() override {
    phase_ = Phase::first;
    precise_ = false;
    columns_.clear();
    weights_.clear();
    lambdas_.clear();
    if (!useRows(design_.fitted())) {
      // spread only among the held-out models: nothing to choose lambda by, so everything is zero at lambda_max of all
      useRows(design_.all());
      lambdas_.push_back(HUGE_VAL);
      beginFinal(HUGE_VAL);
      return;
    }
    set_.reset(subset(), false);
    setResidual(columns_, weights_);
  }

 private:
  enum class Phase { first, path, final };

  bool selecting() const { return !options_.holdout.empty(); }

  bool beginPath(double largest, const TaskControl& control) {
    if (selecting()) {
      lambdas_ = lambdaGrid(largest);
    } else {
      const double lambda = options_.lambda / scale_;
      if (lambda >= largest * kAtMaximum) {
        beginFinal(lambda);
        return true;
      }
      const double steps = std::ceil(std::log(lambda / largest) / std::log(kWarmRatio));
      for (double k = 0; k <= steps; ++k) lambdas_.push_back(k == steps ? lambda : largest * std::pow(lambda / largest, k / steps));
    }
    phase_ = Phase::path;
    errors_.assign(lambdas_.size(), HUGE_VAL);
    best_ = at_ = repairs_ = 0;
    recordError();
    return largest == 0 ? endPath() : stepPath(largest, control);
  }

  // The correlations belong to the weights at lambdas_[at_]: repair that point when columns are missing, else walk on.
  bool stepPath(double largest, const TaskControl& control) {
    const int64_t end = static_cast<int64_t>(lambdas_.size()) - 1;
    if (relativeGap(largest, lambdas_[at_], set_.absoluteSum()) > kPathGap && repairs_ < kPathRepairs) {
      ++repairs_;
      admit(kEntry * lambdas_[at_]);
      solve(lambdas_[at_], control);
    } else {
      if (at_ == end) return endPath();
      repairs_ = 0;
      const int64_t to = std::min(end, at_ + (selecting() ? kLambdasPerPass : 1));
      admit(kEntry * lambdas_[to]);
      while (at_ < to) {
        ++at_;
        solve(lambdas_[at_], control);
        if (selecting() && risen()) return endPath();
      }
    }
    setResidual(columns_, weights_);
    return true;
  }

  void admit(double threshold) {
    const std::vector<double>& c = correlation();
    for (size_t j = 0; j < c.size(); ++j) {
      const int32_t column = static_cast<int32_t>(j);
      if (std::fabs(c[j]) >= threshold && !set_.has(column) && !subset().constant(column)) set_.add(column, 0.0);
    }
    set_.complete();
    set_.refreshGradient(c.data());
  }

  // A step that leaves the correlations within a share e of lambda costs about 2 e lambda ||w||_1 of relative gap.
  double stepTolerance(double gap, double lambda) const { return 0.15 * gap / std::max(lambda * set_.absoluteSum(), 0.02); }

  void solve(double lambda, const TaskControl& control) {
    set_.solve(lambda, stepTolerance(kPathGap, lambda), kPathSweeps, control);
    collectWeights();
    recordError();
  }

  void collectWeights() {
    columns_.clear();
    weights_.clear();
    for (int64_t p = 0; p < set_.size(); ++p) {
      if (set_.weight(p) == 0) continue;
      columns_.push_back(set_.columns()[p]);
      weights_.push_back(set_.weight(p));
    }
  }

  void recordError() {
    if (!selecting()) return;
    errors_[at_] = holdoutError(columns_, weights_);
    if (errors_[at_] <= errors_[best_]) {
      best_ = at_;
      bestColumns_ = columns_;
      bestWeights_ = weights_;
    }
  }

  bool risen() const {
    const int64_t past = at_ - best_;
    return (past >= kPatience && errors_[at_] > errors_[best_] * kRise) || past >= 2 * kPatience;
  }

  bool endPath() {
    if (!selecting()) {
      beginFinal(lambdas_.back());
      return true;
    }
    const double lambda = lambdas_[best_] * scale_, before = scale_;
    columns_ = bestColumns_;
    weights_ = bestWeights_;
    if (options_.refit) {
      useRows(design_.all());
      for (double& weight : weights_) weight *= before / scale_;
    }
    beginFinal(lambda / scale_);
    return true;
  }

  // From columns_ and weights_ as a warm start on the rows in use.
  void beginFinal(double lambda) {
    phase_ = Phase::final;
    precise_ = true;
    lambda_ = lambda;
    round_ = 0;
    tighten_ = 1;
    set_.reset(subset(), true);
    for (size_t k = 0; k < columns_.size(); ++k) set_.add(columns_[k], weights_[k]);
    setResidual(columns_, weights_);
  }

  bool stepFinal(double largest, const TaskControl& control) {
    if (lambda_ == HUGE_VAL) lambda_ = largest;
    double absoluteWeights = 0;
    for (double weight : weights_) absoluteWeights += std::fabs(weight);
    const double gap = relativeGap(largest, lambda_, absoluteWeights);
    // a warm start that happens to pass is still solved once, so that zeros are exact
    const bool solved = round_ > 0 || largest * kAtMaximum <= lambda_;
    if ((gap <= options_.gapTolerance && solved) || round_ == kFinalRounds || control.aborted()) {
      finish(gap <= options_.gapTolerance ? FitStatus::converged : FitStatus::unconverged, lambda_, gap, columns_, weights_);
      return false;
    }
    const int64_t before = set_.size();
    admit(kEntry * lambda_);
    if (round_ > 0 && set_.size() == before) tighten_ *= 0.25;
    ++round_;
    set_.solve(lambda_, tighten_ * stepTolerance(options_.gapTolerance, lambda_), kFinalSweeps, control);
    collectWeights();
    setResidual(columns_, weights_);
    return true;
  }

  WorkingSet set_;
  Phase phase_ = Phase::first;
  std::vector<double> lambdas_, errors_;  // of the path
  int64_t at_ = 0, best_ = 0, repairs_ = 0, round_ = 0;
  double lambda_ = 0, tighten_ = 1;
  std::vector<int32_t> columns_, bestColumns_;  // non-zero weights, in order of entry
  std::vector<double> weights_, bestWeights_;
};

}  // namespace

std::unique_ptr<TargetSolver> makeLassoSolver(const LassoDesign& design, const LassoKernels& kernels, const FitOptions& options) {
  return std::make_unique<LassoSolver>(design, kernels, options);
}

}  // namespace lethe
