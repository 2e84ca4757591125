// What every estimator needs of one target: its column on the rows of the design, residuals, held-out error, the duality gap. Solvers
// advance in passes: they leave a residual, the driver correlates the residuals of many targets with all columns at once, advance()
// looks at the correlations and leaves the next residual, or is done.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/lasso_design.h"
#include "lethe/lasso.h"
#include "lethe/task.h"

namespace lethe {

class TargetSolver {
 public:
  TargetSolver(const LassoDesign& design, const LassoKernels& kernels, const FitOptions& options);
  virtual ~TargetSolver() = default;

  // column: (numModels) the target of each model. False: nothing to fit, fit() is complete (constant or non-finite target).
  bool begin(const float* column);
  // largest: max |correlation|, exact. False: done, fit() is complete.
  virtual bool advance(double largest, const TaskControl& control) = 0;

  const RowSubset& subset() const { return *subset_; }
  const std::vector<double>& residual() const { return residual_; }  // (rows) zero outside the subset
  bool precise() const { return precise_; }  // correlations are wanted to double precision: for certificates
  std::vector<double>& correlation() { return correlation_; }  // (columns) x_j^T (residual) / m, columns centred; written by the driver
  TargetFit& fit() { return fit_; }

 protected:
  virtual void start() = 0;

  // Standardises the target on these models: inside a solver y has mean 0 and mean square 1. False: it is constant there.
  bool useRows(const RowSubset& subset);
  // residual = y - X w on the subset, centred (the intercept's doing).
  void setResidual(const std::vector<int32_t>& columns, const std::vector<double>& weights);
  // Mean squared error on the held-out models, in units of the fitted models' variance.
  double holdoutError(const std::vector<int32_t>& columns, const std::vector<double>& weights);
  // Relative duality gap at the residual; largest = max |x_j^T r| / m.
  double relativeGap(double largest, double lambda, double absoluteWeights) const;
  // Writes the result in the unit of the target; lambda and weights are given in the standardised unit.
  void finish(FitStatus status, double lambda, double gap, const std::vector<int32_t>& columns, const std::vector<double>& weights);
  // The grid of lambdas to choose from, largest first.
  std::vector<double> lambdaGrid(double largest) const;

  const LassoDesign& design_;
  const LassoKernels& kernels_;
  const FitOptions& options_;
  const RowSubset* subset_ = nullptr;
  double mean_ = 0, scale_ = 1;  // of the target on the subset
  bool precise_ = false;

 private:
  double meanOver(const std::vector<double>& values) const;

  std::vector<double> raw_, target_, residual_;  // (rows): as given, standardised on the subset
  std::vector<double> correlation_;              // (columns)
  TargetFit fit_;
};

std::unique_ptr<TargetSolver> makeLassoSolver(const LassoDesign& design, const LassoKernels& kernels, const FitOptions& options);
std::unique_ptr<TargetSolver> makeMarginalSolver(const LassoDesign& design, const LassoKernels& kernels, const FitOptions& options);

}  // namespace lethe
