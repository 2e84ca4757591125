// Coordinate descent on the few columns that matter for a target: their Gram matrix, gradient and weights, small enough for the caches.
#pragma once
#include <cstdint>
#include <vector>

#include "core/lasso_design.h"

namespace lethe {

class WorkingSet {
 public:
  WorkingSet(const LassoDesign& design, const LassoKernels& kernels) : design_(design), kernels_(kernels) {}

  // Empties the set and fixes the models of the fit. precise: the gradient is kept in double, for solutions that are certified.
  void reset(const RowSubset& subset, bool precise);
  // Adds a column that is not a member yet, at the given weight; usable after complete().
  void add(int32_t column, double weight);
  bool has(int32_t column) const { return member_[column] != 0; }
  // Computes the Gram entries of the added columns.
  void complete();
  // Takes over fresh correlations of the current weights with the residual. correlation: (columns of the design)
  void refreshGradient(const double* correlation);
  // Sweeps until no step moves a correlation by more than tolerance * lambda. False when sweeps ran out or the task was aborted.
  bool solve(double lambda, double tolerance, int64_t maxSweeps, const TaskControl& control);

  int64_t size() const { return static_cast<int64_t>(columns_.size()); }
  const std::vector<int32_t>& columns() const { return columns_; }  // (size) in order of entry
  double weight(int64_t position) const { return weight_[position]; }
  double absoluteSum() const;

 private:
  double sweep(const std::vector<int32_t>& positions, double lambda);
  void listActive();

  const LassoDesign& design_;
  const LassoKernels& kernels_;
  const RowSubset* subset_ = nullptr;
  int64_t completed_ = 0, stride_ = 0;  // stride: multiple of 16
  std::vector<uint8_t> member_;         // (columns of the design)
  std::vector<int32_t> columns_, everything_, active_, counts_;
  std::vector<float> gram_;              // (stride, stride)
  bool precise_ = false;
  std::vector<float> inverseDiagonal_, gradient_;   // (stride)
  std::vector<double> preciseGradient_, weight_;    // (stride)
};

}  // namespace lethe
