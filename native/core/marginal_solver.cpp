// The marginal estimator: with X^T X / m replaced by its diagonal the Lasso has the closed form
// w_j = soft(x_j^T (y - mean) / m, lambda) / var(x_j), so that a target costs one correlation and a search for lambda.
#include <cmath>

#include "core/lasso_target.h"

namespace lethe {

namespace {

// The search ends when the best held-out error is this many lambdas back and has risen by this share, or after three times as many.
constexpr int64_t kPatience = 5;
constexpr double kRise = 1.005;

class MarginalSolver final : public TargetSolver {
 public:
  using TargetSolver::TargetSolver;

  bool advance(double largest, const TaskControl& control) override {
    if (std::isnan(lambda_)) {
      lambda_ = choose(largest, control) * scale_;
      if (options_.refit) {
        useRows(design_.all());
        setResidual({}, {});
        return true;
      }
    }
    threshold(lambda_ / scale_);
    finish(FitStatus::converged, lambda_ / scale_, 0, columns_, weights_);
    return false;
  }

 protected:
  void start() override {
    precise_ = true;
    const bool selecting = !options_.holdout.empty();
    lambda_ = selecting ? NAN : options_.lambda;
    if (!useRows(design_.fitted())) {
      useRows(design_.all());
      lambda_ = HUGE_VAL;
    }
    setResidual({}, {});
  }

 private:
  void threshold(double lambda) {
    columns_.clear();
    weights_.clear();
    const std::vector<double>& c = correlation();
    for (size_t j = 0; j < c.size(); ++j) {
      const int32_t column = static_cast<int32_t>(j);
      const double beyond = std::fabs(c[j]) - lambda;
      if (!(beyond > 0) || subset().constant(column)) continue;
      const double share = static_cast<double>(subset().seen[j]) / static_cast<double>(subset().count);
      columns_.push_back(column);
      weights_.push_back(std::copysign(beyond / (share * (1 - share)), c[j]));
    }
  }

  double choose(double largest, const TaskControl& control) {
    const std::vector<double> grid = lambdaGrid(largest);
    double bestError = HUGE_VAL;
    int64_t best = 0;
    for (int64_t k = 0; k < static_cast<int64_t>(grid.size()) && !control.aborted(); ++k) {
      threshold(grid[k]);
      const double error = holdoutError(columns_, weights_);
      if (error < bestError) {
        bestError = error;
        best = k;
      }
      if ((k - best >= kPatience && error > bestError * kRise) || k - best >= 3 * kPatience) break;
    }
    return grid[best];
  }

  double lambda_ = 0;  // in the unit of the target; NaN: still to be chosen
  std::vector<int32_t> columns_;
  std::vector<double> weights_;
};

}  // namespace

std::unique_ptr<TargetSolver> makeMarginalSolver(const LassoDesign& design, const LassoKernels& kernels, const FitOptions& options) {
  return std::make_unique<MarginalSolver>(design, kernels, options);
}

}  // namespace lethe
