// Coordinate descent on the few columns that matter for a target: their Gram matrix, gradient and weights, small enough for the caches.
// Gradients and penalties are sums over models, not means.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/base/aligned.h"
#include "core/lasso/design.h"

namespace lethe {

class WorkingSet {
 public:
  explicit WorkingSet(const LassoDesign& design);

  // Empties the set and fixes the models of the fit. precise: the gradient is kept in double, for gaps that floats do not reach.
  void reset(const RowSet& rowSet, bool precise);
  // Adds a column that is not a member yet, at the given weight; usable after complete().
  void add(int32_t column, double weight);
  bool has(int32_t column) const { return position_[column] >= 0; }
  void setWeight(int32_t column, double weight) { weight_[position_[column]] = weight; }
  void clearWeights() { std::fill(weight_.begin(), weight_.end(), 0.0); }
  // Keeps the gradient in double from here on; needs a gradient afterwards.
  void makePrecise() { precise_ = true; }
  // Computes the Gram entries of the added columns.
  void complete();
  // Drops members without weight and with a gradient below `floor`, once they are many.
  void shrink(double floor);

  // Gradient of every member from the exact one at the present weights. correlation: (columns of the design)
  void setGradient(const double* correlation);
  // Gradient (in float) of the members from `first` on, from the one without any weights.
  void deriveGradient(int64_t first, const double* correlationOfTarget);
  // Moves weights and gradient along the line from the last call's solution to the present one, by `ratio` of the way between them: the
  // path is piecewise linear in lambda, so that this is most of the next solution. Needs the gradients of all members.
  void extrapolate(double ratio, const double* correlationOfTarget);

  // Sweeps until no step moves a gradient by more than tolerance * penalty, at most maxSweeps. penalty of column j: scale * factor[j]
  // (factor null: 1). False when sweeps ran out or the task was aborted.
  bool solve(double scale, const float* factor, double tolerance, int64_t maxSweeps, const TaskControl& control);

  // Least squares on some members: solves H x = rhs there by conjugate gradients, preconditioned by the diagonal of H, until the residual
  // is 1e-5 of rhs. positions, rhs, x: same length. Products are in float: repeat with what is left of rhs for more digits.
  // Where H is singular (columns that are alike) x is what conjugate gradients from zero give: the same for equal columns.
  void solveLeastSquares(const std::vector<int32_t>& positions, const std::vector<double>& rhs, std::vector<double>& x);
  int32_t positionOf(int32_t column) const { return position_[column]; }
  float gradient(int64_t position) const { return gradient_[position]; }

  int64_t bytes() const { return static_cast<int64_t>(gram_.size() * sizeof(int16_t)); }  // of the Gram counts
  int64_t size() const { return static_cast<int64_t>(columns_.size()); }
  const std::vector<int32_t>& columns() const { return columns_; }  // (size) in order of entry
  double weight(int64_t position) const { return weight_[position]; }
  double weightOf(int32_t column) const { return weight_[position_[column]]; }

 private:
  template <typename Entry>
  void completeIn();
  template <typename Entry>
  void shrinkIn(const std::vector<int32_t>& kept);
  template <typename Entry>
  DescentSet<Entry> view() const;
  template <typename Entry>
  void moveGradient(int64_t position, double change);
  double sweep(const std::vector<int32_t>& positions);
  void multiply(const std::vector<int32_t>& positions, const std::vector<double>& x, std::vector<double>& product);
  void grow(int64_t count);
  void listActive();

  const LassoDesign& design_;
  const LassoKernels& kernels_;
  const RowSet* rowSet_ = nullptr;
  bool precise_ = false, wide_ = false;  // wide: entries of 16 bits
  int64_t completed_ = 0, stride_ = 0;   // stride: multiple of 16
  std::vector<int32_t> position_;        // (columns of the design) of a member, or -1
  std::vector<int32_t> columns_, everything_, active_, counts_;
  AlignedVector<int16_t> gram_;          // (stride, stride) of 16 or 8 bits
  AlignedVector<float> diagonal_, inverse_, phi_, psi_, gradient_, markedGradient_, weightFloat_, products_;  // (stride)
  AlignedVector<double> preciseGradient_, weight_, markedWeight_, penalty_;  // (stride)
  int64_t marked_ = 0;                   // members of the last mark
};

}  // namespace lethe
