// A pass over the design for many targets at once: residuals become whole numbers in lanes, the kernels sum them per column, and the sums
// become correlations again. Lanes are exact integers, so that a target's numbers do not depend on the others in the pass.
#pragma once
#include <cstdint>
#include <vector>

#include "core/base/aligned.h"
#include "core/lasso/target.h"

namespace lethe {

class PassRunner {
 public:
  explicit PassRunner(const LassoDesign& design);

  // Correlations of every target's residual with all columns, written to correlation(), and max |correlation| / factor of each.
  // A target that is precise() takes two lanes; together at most kExactLanes.
  void exact(const std::vector<TargetSolver*>& targets, std::vector<double>& largest);
  // Columns of each target, ascending, whose correlation may reach its screenFloor(): sums carry a rounding error of about 1/2000 of
  // screenBound(). At most kScreenLanes targets. found: one list a target.
  void screen(const std::vector<TargetSolver*>& targets, std::vector<std::vector<int32_t>>& found);

 private:
  // A residual as fixed-point lanes: value = unit[0] * first lane + unit[1] * second lane.
  struct Lane {
    int64_t first = 0, limbs = 1;
    double unit[2] = {0, 0}, sum[2] = {0, 0};  // sum: of the quantised values of a lane
  };
  int64_t extent(const std::vector<TargetSolver*>& targets) const;
  Lane quantise(const TargetSolver& target, int64_t lane);
  double dequantise(TargetSolver& target, const Lane& lane, int64_t from, int64_t to);

  const LassoDesign& design_;
  AlignedVector<uint8_t> values_, sums_, scratch_;  // (rows), (columns) lines, passScratchBytes
  std::vector<ScreenHit> hits_;                     // (columns)
};

}  // namespace lethe
