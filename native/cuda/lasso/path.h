// One target in flight on a device: the rules of its path (core/lasso/path.h) as commands to the device, on the sums that it returns.
#pragma once
#include <vector>

#include "core/lasso/path.h"
#include "cuda/lasso/gpu.h"
#include "lethe/lasso/fit.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

struct DeviceRowSet {
  int32_t count = 0, heldFrom = 0, heldTo = 0;
};

class TargetPath {
 public:
  enum class Next { correlate, step, done };

  // row sets: (folds + 1) of the design; both outlive this. lambdaRatio: lambda as a share of lambda_max; 0: the options say how it is found.
  TargetPath(const FitOptions& options, const std::vector<DeviceRowSet>& rowSets, double lambdaRatio);

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
  int32_t rowSet() const { return command_.rowSet; }

 private:
  int32_t folds() const { return static_cast<int32_t>(rowSets_.size()) - 1; }
  double count() const { return command_.count; }
  void useRowSet(int32_t rowSet);
  void nextFold();
  void endPath();
  Next beginPath(const Outcome& outcome);
  Next orderStep(double penalised);
  void order(double lambda, double entry, double tolerance, int64_t sweeps);
  Next certify(const Outcome& outcome);

  const FitOptions& options_;
  const std::vector<DeviceRowSet>& rowSets_;
  LambdaPath path_;
  Command command_;
  bool final_ = false, fresh_ = true;  // fresh: the next correlations are those of all weights zero, or of a warm start
  double scale_ = 1, lambda_ = 0, gap_ = 0;  // lambda of the final fit, in the unit of the models
  FitStatus status_ = FitStatus::unconverged;
};

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
