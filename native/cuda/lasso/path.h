// What the host knows of one target in flight: where its path is, which lambda is next, when it ends. The same rules as the CPU's
// (core/lasso/solver.cpp), on numbers that the device has summed.
#pragma once
#include <vector>

#include "cuda/lasso/gpu.h"
#include "lethe/lasso/fit.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

struct Subset {
  int32_t count = 0, heldFrom = 0, heldTo = 0;
};

class TargetPath {
 public:
  enum class Next { correlate, step, done };

  // subsets: (folds + 1) of the design; both outlive this. lambdaRatio: lambda as a share of lambda_max; 0: the options say how it is found.
  TargetPath(const FitOptions& options, const std::vector<Subset>& subsets, double lambdaRatio);

  // Of the next residual, or after correlated() gave Next::step of the step. Slot, lane, set and capacity are the caller's.
  Command& command() { return command_; }
  // The next correlations are wanted to full precision: they certify, or fix lambda_max.
  bool exact() const { return final_ || fresh_; }

  // After the residual's correlations.
  Next correlated(const Outcome& outcome);
  // After a step: the next residual is wanted.
  void stepped(const Outcome& outcome);

  // When done: the result but for its weights, which lie in the working set in units of scale().
  FitStatus status() const { return status_; }
  double lambda() const { return lambda_ * scale_; }
  double gap() const { return gap_; }
  double scale() const { return scale_; }
  int32_t subset() const { return command_.subset; }

 private:
  bool selecting() const { return !options_.fold.empty() && lambdaRatio_ == 0; }
  int32_t folds() const { return static_cast<int32_t>(subsets_.size()) - 1; }
  int64_t size() const { return static_cast<int64_t>(grid_.size()); }
  double count() const { return command_.count; }
  void useSubset(int32_t subset);
  void nextFold();
  void endPath();
  Next beginPath(const Outcome& outcome);
  void chooseNext();
  void orderStep(double tolerance, int32_t sweeps, double lambda, double entry);
  void record(int64_t k, double error, double shareOfPrevious);
  Next certify(const Outcome& outcome);
  double relativeGap(const Outcome& outcome) const;

  const FitOptions& options_;
  const std::vector<Subset>& subsets_;
  const double lambdaRatio_;
  Command command_;
  bool final_ = false, fresh_ = true;  // fresh: the next correlations are those of all weights zero, or of a warm start
  int32_t fold_ = -1;
  double scale_ = 1;
  std::vector<double> lambdas_, errors_, grid_;  // in the unit of the target; summed over the folds; in that of the present models
  int64_t reached_ = 0, covered_ = 0, best_ = 0;
  double bestError_ = 0, before_ = 0, at_ = 0, next_ = 0;
  double bestLambda_ = 0;  // of the final fit, in the unit of the target
  double lambda_ = 0, tighten_ = 1, gap_ = 0;
  int64_t round_ = 0;
  FitStatus status_ = FitStatus::unconverged;
};

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
