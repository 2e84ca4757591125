#include "core/lasso_working_set.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lethe {

void WorkingSet::reset(const RowSubset& subset, bool precise) {
  precise_ = precise;
  member_.resize(design_.columns().columns, 0);
  for (int32_t column : columns_) member_[column] = 0;
  columns_.clear();
  everything_.clear();
  std::fill(weight_.begin(), weight_.end(), 0.0);
  completed_ = 0;
  subset_ = &subset;
}

void WorkingSet::add(int32_t column, double weight) {
  const size_t position = columns_.size();
  columns_.push_back(column);
  everything_.push_back(static_cast<int32_t>(position));
  member_[column] = 1;
  if (weight_.size() <= position) weight_.resize(2 * position + 16, 0.0);
  weight_[position] = weight;
}

void WorkingSet::complete() {
  const int64_t count = size();
  if (count == completed_) return;
  if (count > stride_) {
    const int64_t grown = (count + count / 2 + 15) / 16 * 16;
    std::vector<float> gram(grown * grown, 0.0f);
    for (int64_t p = 0; p < completed_; ++p) std::memcpy(gram.data() + p * grown, gram_.data() + p * stride_, completed_ * sizeof(float));
    gram_ = std::move(gram);
    stride_ = grown;
    gradient_.resize(stride_, 0.0f);
    preciseGradient_.resize(stride_, 0.0);
    inverseDiagonal_.resize(stride_, 0.0f);
  }
  if (static_cast<int64_t>(weight_.size()) < stride_) weight_.resize(stride_, 0.0);
  counts_.resize(count);
  for (int64_t p = completed_; p < count; ++p) {
    design_.gramRow(*subset_, columns_[p], columns_.data(), count, counts_.data(), gram_.data() + p * stride_);
    inverseDiagonal_[p] = 1 / gram_[p * stride_ + p];
  }
  for (int64_t p = 0; p < completed_; ++p) {
    for (int64_t q = completed_; q < count; ++q) gram_[p * stride_ + q] = gram_[q * stride_ + p];
  }
  completed_ = count;
}

void WorkingSet::refreshGradient(const double* correlation) {
  for (int64_t p = 0; p < size(); ++p) {
    preciseGradient_[p] = correlation[columns_[p]];
    gradient_[p] = static_cast<float>(preciseGradient_[p]);
  }
}

bool WorkingSet::solve(double lambda, double tolerance, int64_t maxSweeps, const TaskControl& control) {
  const double enough = tolerance * lambda;
  int64_t sweeps = 0;
  while (sweeps < maxSweeps && !control.aborted()) {
    ++sweeps;
    if (sweep(everything_, lambda) <= enough) return true;
    listActive();
    while (sweeps < maxSweeps && !control.aborted()) {
      ++sweeps;
      if (sweep(active_, lambda) <= enough) break;
    }
  }
  return false;
}

double WorkingSet::sweep(const std::vector<int32_t>& positions, double lambda) {
  const int64_t padded = (size() + 15) / 16 * 16;
  const int64_t count = static_cast<int64_t>(positions.size());
  if (precise_) {
    return kernels_.descendPrecise(count, positions.data(), padded, gram_.data(), stride_, inverseDiagonal_.data(), lambda,
                                   preciseGradient_.data(), weight_.data());
  }
  return static_cast<double>(kernels_.descend(count, positions.data(), padded, gram_.data(), stride_, inverseDiagonal_.data(),
                                              static_cast<float>(lambda), gradient_.data(), weight_.data()));
}

void WorkingSet::listActive() {
  active_.clear();
  for (int64_t p = 0; p < size(); ++p) {
    if (weight_[p] != 0) active_.push_back(static_cast<int32_t>(p));
  }
}

double WorkingSet::absoluteSum() const {
  double sum = 0;
  for (int64_t p = 0; p < size(); ++p) sum += std::fabs(weight_[p]);
  return sum;
}

}  // namespace lethe
