// The end of a target whose Lasso another device has solved: its relaxation, bias and result, by the rules of TargetSolver.
#pragma once
#include "core/lasso/target.h"

namespace lethe {

// In the unit of the target.
struct LassoResult {
  FitStatus status = FitStatus::unconverged;
  double lambda = 0, gap = 0;
  SparseWeights weights;
};

class SolvedElsewhere final : public TargetSolver {
 public:
  SolvedElsewhere(const LassoDesign& design, const FitOptions& options);

  // values: (rows) of the target, 0 in padding. models: those of the fit.
  TargetFit conclude(const float* values, double relaxation, const RowSet& models, const LassoResult& lasso);

  using TargetSolver::advance;
  Wanted advance(double, const TaskControl&) override { return Wanted::none; }

 private:
  Wanted start() override { return Wanted::none; }

  WorkingSet set_;
};

}  // namespace lethe
