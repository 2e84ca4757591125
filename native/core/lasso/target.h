// What every estimator needs of one target: its column on the rows of the design, residuals, held-out error, the duality gap. Solvers
// advance in passes over the design: they leave a residual, the driver correlates the residuals of many targets with all columns at
// once, and hands the correlations back. Correlations are sums over models, x_j^T (residual) with the column centred.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "core/lasso/design.h"
#include "core/lasso/path.h"
#include "core/lasso/scorer.h"
#include "core/lasso/working_set.h"
#include "lethe/base/task.h"
#include "lethe/lasso/fit.h"

namespace lethe {

enum class Wanted {
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

// One target of a fit. rowWeights: (numModels, weightStride) how often model i counts at [i * weightStride], or null.
struct TargetInput {
  const float* column = nullptr;  // (numModels)
  const uint8_t* rowWeights = nullptr;
  int64_t weightStride = 0;
  double lambdaRatio = 0;  // 0: the options say how lambda is found
  double relaxation = 0;
};

// What the values of a target say before anything is fitted.
class ColumnFacts {
 public:
  void add(float value);
  bool isToFit() const { return any_ && finite_ && !constant_; }
  // Where there is nothing to fit.
  TargetFit fit(const FitOptions& options, double lambdaRatio) const;

 private:
  bool finite_ = true, constant_ = true, any_ = false;
  float first_ = std::numeric_limits<float>::quiet_NaN();
};

// LETHE_ARGUMENT_INVALID where the view says what cannot be.
Status checkTargets(const TargetView& targets, const FitOptions& options);

// column: (numModels) the values of target t.
TargetInput inputOf(const TargetView& targets, const FitOptions& options, int64_t t, const float* column);

class TargetSolver {
 public:
  // scored: relaxations of which a path only keeps scores (scorePaths), or null: it is a fit. All three outlive this.
  TargetSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored);
  virtual ~TargetSolver() = default;

  // Wanted::none: nothing to fit (constant or non-finite target).
  Wanted begin(const TargetInput& input);
  // After an exact pass; largest: max over columns of |correlation| / factor.
  virtual Wanted advance(double largest, const TaskControl& control) = 0;
  // After a screening pass, with the columns it found.
  virtual Wanted advance(const std::vector<int32_t>& found, const TaskControl& control);

  const RowSet& rowSet() const { return *rowSet_; }
  const std::vector<double>& residual() const { return residual_; }  // (rows) times row weight: zero outside the row set
  bool precise() const { return precise_; }  // correlations are wanted to double precision
  double screenFloor() const { return screenFloor_; }
  double screenBound() const { return screenBound_; }  // no correlation of the residual is larger than this
  std::vector<double>& correlation() { return correlation_; }  // (columns) written by the driver in an exact pass
  const float* factor() const { return factor_.empty() ? nullptr : factor_.data(); }  // (columns) penalty of a column, or null: 1
  TargetFit& fit() { return fit_; }
  PathScore& score() { return scorer_.score(); }
  virtual int64_t setBytes() const { return 0; }  // of Gram counts that are kept from target to target

 protected:
  virtual Wanted start() = 0;

  bool selecting() const { return path_->selecting(); }
  bool scoring() const { return scored_ != nullptr; }
  // values: (rows) of a target that is not begun here.
  void takeRows(const float* values);
  // The models of fold k's complement, or all (k < 0), with the row weights of this target.
  const RowSet& rows(int64_t fold);
  // Standardises the target on these models: inside a solver y has mean 0 and mean square 1. False: it is constant there.
  bool useRows(const RowSet& rowSet);
  // residual = y - X w on the row set, centred (the intercept's doing).
  void setResidual(const SparseWeights& solution);
  // The same by floats: for screening.
  void setScreenResidual(const SparseWeights& solution, double floor, double bound);
  // Begins the scores of a path over so many lambdas.
  void beginScores(int64_t lambdas);
  // Errors on the held-out models, each times the root of its row weight, in units of the fitted models' deviation.
  void heldOutErrors(const SparseWeights& solution, std::vector<float>& errors);
  // Relative duality gap at the residual; largest = max |x_j^T r| / factor_j, penalised = sum of factor_j |w_j|.
  double relativeGap(double largest, double lambda, double penalised) const;
  double penalised(const SparseWeights& solution) const;
  // Least squares on the support of `solution`, which becomes it; `set` holds the support, complete. Returns its relative gap.
  double refitSupport(WorkingSet& set, SparseWeights& solution);
  // The end of a Lasso, solved to `gap`: relaxed, if that is wanted, and written.
  void conclude(FitStatus status, double lambda, double gap, const SparseWeights& solution, WorkingSet& set);
  // Writes the result in the unit of the target; lambda and weights are given in the standardised unit.
  void finish(FitStatus status, double lambda, double gap, const SparseWeights& solution);
  double count() const { return static_cast<double>(rowSet_->count); }

  const LassoDesign& design_;
  const LassoKernels& kernels_;
  const FitOptions& options_;
  double relaxation_ = 0;  // of this target
  std::optional<LambdaPath> path_;
  PathScorer scorer_;
  double mean_ = 0, scale_ = 1;  // of the target on the row set
  bool precise_ = false;

 private:
  double weightedMean(const std::vector<double>& values) const;
  void correlateSupport(const std::vector<int32_t>& columns, std::vector<double>& gradient) const;
  template <typename Real>
  void weighResidual(const std::vector<Real>& unweighted);

  const std::vector<double>* scored_;
  const RowSet* rowSet_ = nullptr;
  std::vector<RowSet> own_;  // of this target's row weights: all models, then without each fold
  std::vector<double> raw_, target_, rest_, residual_;  // (rows): as given, standardised on the row set, what a solution leaves
  std::vector<float> targetFloat_, restFloat_, weightsFloat_, factor_;
  std::vector<double> correlation_;                 // (columns)
  double screenFloor_ = 0, screenBound_ = 0;
  TargetFit fit_;
};

std::unique_ptr<TargetSolver> makeLassoSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored);
std::unique_ptr<TargetSolver> makeMarginalSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored);
// Of the estimator that the options name.
std::unique_ptr<TargetSolver> makeSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored = nullptr);

}  // namespace lethe
