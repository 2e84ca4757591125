// The marginal estimator: with X^T X / m replaced by its diagonal the Lasso has the closed form
// w_j = soft(x_j^T (y - mean) / m, lambda) / var(x_j), so that a target costs one correlation and a search for lambda.
#include <algorithm>
#include <cmath>

#include "core/lasso/target.h"

namespace lethe {

namespace {

class MarginalSolver final : public TargetSolver {
 public:
  using TargetSolver::TargetSolver;

  Wanted advance(double largest, const TaskControl& control) override {
    if (final_) {
      if (path_->lambdaRatio() > 0) lambda_ = path_->lambdaRatio() * largest / count() * scale_;
      else if (lambda_ == HUGE_VAL) lambda_ = largest / count() * scale_;
      return finishAt(lambda_ / scale_);
    }
    search(largest / count(), control);
    return nextFold();
  }

 protected:
  Wanted start() override {
    precise_ = true;
    final_ = false;
    return nextFold();
  }

 private:
  Wanted nextFold() {
    while (path_->nextFold(design_.numFolds())) {
      if (!useRows(rows(path_->fold()))) continue;
      setResidual(SparseWeights{});
      return Wanted::exact;
    }
    if (scoring()) return Wanted::none;
    if (!selecting()) {
      lambda_ = options_.lambda;
    } else if (path_->nothingToChooseBy()) {
      lambda_ = HUGE_VAL;  // spread only among the held-out models: zero at lambda_max of all
    } else {
      lambda_ = path_->chosen();
      if (!options_.refit) return finishAt(lambda_ / scale_);
    }
    final_ = true;
    useRows(rows(-1));
    setResidual(SparseWeights{});
    return Wanted::exact;
  }

  Wanted finishAt(double lambda) {
    threshold(lambda);
    finish(FitStatus::converged, lambda, 0, solution_);
    return Wanted::none;
  }

  void threshold(double lambda) {
    solution_.clear();
    const std::vector<double>& c = correlation();
    for (size_t j = 0; j < c.size(); ++j) {
      const int32_t column = static_cast<int32_t>(j);
      const double beyond = std::fabs(c[j]) / count() - lambda * (factor() ? static_cast<double>(factor()[j]) : 1.0);
      if (!(beyond > 0) || rowSet().constant(column)) continue;
      const double share = static_cast<double>(rowSet().seen[j]) / count();
      solution_.push(column, std::copysign(beyond / (share * (1 - share)), c[j]));
    }
  }

  // Adds the held-out errors of this fold's path.
  void search(double largest, const TaskControl& control) {
    path_->begin(largest, scale_);
    if (scoring()) return scorePath(control);
    while (path_->covered() < path_->reached() && !path_->risen() && !control.aborted()) {
      threshold(path_->lambdas()[path_->covered()] / scale_);
      heldOutErrors(solution_, heldOut_);
      double error = 0;
      for (float value : heldOut_) error += static_cast<double>(value) * static_cast<double>(value);
      path_->addError(error);
    }
    path_->endFold();
  }

  // There is no support to fit again on: all relaxations are the same.
  void scorePath(const TaskControl& control) {
    const std::vector<double>& lambdas = path_->lambdas();
    beginScores(static_cast<int64_t>(lambdas.size()));
    for (size_t k = 0; k < lambdas.size() && !control.aborted(); ++k) {
      threshold(lambdas[k] / scale_);
      heldOutErrors(solution_, heldOut_);
      scorer_.add(heldOut_, heldOut_);
      scorer_.record(static_cast<int64_t>(k), 0);
    }
  }

  bool final_ = false;
  double lambda_ = 0;  // in the unit of the target
  std::vector<float> heldOut_;
  SparseWeights solution_;
};

}  // namespace

std::unique_ptr<TargetSolver> makeMarginalSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored) {
  return std::make_unique<MarginalSolver>(design, options, scored);
}

}  // namespace lethe
