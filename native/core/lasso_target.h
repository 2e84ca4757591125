// What every estimator needs of one target: its column on the rows of the design, residuals, held-out error, the duality gap. Solvers
// advance in passes over the design: they leave a residual, the driver correlates the residuals of many targets with all columns at
// once, and hands the correlations back. Correlations are sums over models, x_j^T (residual) with the column centred.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "core/lasso_design.h"
#include "lethe/lasso.h"
#include "lethe/task.h"

namespace lethe {

enum class Pass {
  none,    // done, fit() is complete
  exact,   // all correlations, for certificates and starts
  screen,  // only the columns whose correlation reaches screenFloor(), approximately: for the path
};

// Non-zero weights by column.
struct SparseWeights {
  std::vector<int32_t> columns;
  std::vector<double> weights;

  int64_t size() const { return static_cast<int64_t>(columns.size()); }
  void clear() {
    columns.clear();
    weights.clear();
  }
  void push(int32_t column, double weight) {
    columns.push_back(column);
    weights.push_back(weight);
  }
};

class TargetSolver {
 public:
  TargetSolver(const LassoDesign& design, const FitOptions& options);
  virtual ~TargetSolver() = default;

  // column: (numModels) the target of each model; rowWeights: (numModels, weightStride) how often model i counts at [i * weightStride], or
  // null. Pass::none: nothing to fit (constant or non-finite target).
  Pass begin(const float* column, const uint8_t* rowWeights, int64_t weightStride);
  // After an exact pass; largest: max over columns of |correlation| / factor.
  virtual Pass advance(double largest, const TaskControl& control) = 0;
  // After a screening pass, with the columns it found.
  virtual Pass advance(const std::vector<int32_t>& found, const TaskControl& control);

  const RowSubset& subset() const { return *subset_; }
  const std::vector<double>& residual() const { return residual_; }  // (rows) times row weight: zero outside the subset
  bool precise() const { return precise_; }  // correlations are wanted to double precision
  double screenFloor() const { return screenFloor_; }
  double screenBound() const { return screenBound_; }  // no correlation of the residual is larger than this
  std::vector<double>& correlation() { return correlation_; }  // (columns) written by the driver in an exact pass
  const float* factor() const { return factor_.empty() ? nullptr : factor_.data(); }  // (columns) penalty of a column, or null: 1
  TargetFit& fit() { return fit_; }

 protected:
  virtual Pass start() = 0;

  // The models of fold k's complement, or all (k < 0), with the row weights of this target.
  const RowSubset& rows(int64_t fold);
  // Standardises the target on these models: inside a solver y has mean 0 and mean square 1. False: it is constant there.
  bool useRows(const RowSubset& subset);
  // residual = y - X w on the subset, centred (the intercept's doing).
  void setResidual(const SparseWeights& solution);
  // The same by floats: for screening.
  void setScreenResidual(const SparseWeights& solution, double floor, double bound);
  // Errors on the held-out models, each times the root of its row weight, in units of the fitted models' deviation.
  void heldOutErrors(const SparseWeights& solution, std::vector<float>& errors);
  // Relative duality gap at the residual; largest = max |x_j^T r| / factor_j, penalised = sum of factor_j |w_j|.
  double relativeGap(double largest, double lambda, double penalised) const;
  double penalised(const SparseWeights& solution) const;
  // Writes the result in the unit of the target; lambda and weights are given in the standardised unit.
  void finish(FitStatus status, double lambda, double gap, const SparseWeights& solution);
  // The lambdas to choose from, largest first, in the standardised unit.
  std::vector<double> lambdaGrid(double largest) const;

  double count() const { return static_cast<double>(subset_->count); }

  const LassoDesign& design_;
  const LassoKernels& kernels_;
  const FitOptions& options_;
  double mean_ = 0, scale_ = 1;  // of the target on the subset
  bool precise_ = false;

 private:
  double weightedMean(const std::vector<double>& values) const;
  template <typename Real>
  void weighResidual(const std::vector<Real>& unweighted);

  const RowSubset* subset_ = nullptr;
  std::vector<RowSubset> own_;  // of this target's row weights: all models, then without each fold
  std::vector<double> raw_, target_, rest_, residual_;  // (rows): as given, standardised on the subset, what a solution leaves
  std::vector<float> targetFloat_, restFloat_, weightsFloat_, factor_;
  std::vector<double> correlation_;                 // (columns)
  double screenFloor_ = 0, screenBound_ = 0;
  TargetFit fit_;
};

std::unique_ptr<TargetSolver> makeLassoSolver(const LassoDesign& design, const FitOptions& options);
std::unique_ptr<TargetSolver> makeMarginalSolver(const LassoDesign& design, const FitOptions& options);

}  // namespace lethe
