#include "core/lasso/scorer.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lethe {

void PathScorer::begin(int64_t lambdas, const std::vector<double>& relaxations, const std::vector<float>& rootWeight, const std::vector<float>& zeroErrors) {
  relaxations_ = relaxations;
  rootWeight_ = rootWeight;
  zero_ = lasso_ = refitted_ = lassoBefore_ = refittedBefore_ = zeroErrors;
  weights_ = squares_ = sum_ = 0;
  for (size_t i = 0; i < zero_.size(); ++i) {
    const double root = static_cast<double>(rootWeight_[i]), value = static_cast<double>(zero_[i]);
    weights_ += root * root;
    squares_ += value * value;
    sum_ += root * value;
  }
  spread_ = weights_ > 0 ? std::max(0.0, squares_ - sum_ * sum_ / weights_) : 0.0;
  const size_t size = static_cast<size_t>(lambdas) * relaxations.size();
  score_.error.assign(size, std::numeric_limits<float>::quiet_NaN());
  score_.correlation.assign(size, std::numeric_limits<float>::quiet_NaN());
}

void PathScorer::add(const std::vector<float>& lasso, const std::vector<float>& refitted) {
  std::swap(lassoBefore_, lasso_);
  std::swap(refittedBefore_, refitted_);
  lasso_ = lasso;
  refitted_ = refitted;
}

void PathScorer::record(int64_t k, double share) {
  for (size_t r = 0; r < relaxations_.size(); ++r) {
    const double relaxation = relaxations_[r];
    double errors = 0, products = 0, squares = 0, sum = 0;  // of predictions: with y, with themselves, with 1
    for (size_t i = 0; i < zero_.size(); ++i) {
      const double now = (1 - relaxation) * static_cast<double>(lasso_[i]) + relaxation * static_cast<double>(refitted_[i]);
      const double before = (1 - relaxation) * static_cast<double>(lassoBefore_[i]) + relaxation * static_cast<double>(refittedBefore_[i]);
      const double truth = static_cast<double>(zero_[i]), error = share * before + (1 - share) * now, predicted = truth - error;
      errors += error * error;
      products += predicted * truth;
      squares += predicted * predicted;
      sum += static_cast<double>(rootWeight_[i]) * predicted;
    }
    if (!(spread_ > 1e-12 * squares_)) return;  // the held-out models are all alike: nothing to predict
    const size_t at = static_cast<size_t>(k) * relaxations_.size() + r;
    score_.error[at] = static_cast<float>(errors / squares_);
    const double spread = squares - sum * sum / weights_;
    const bool constant = !(spread > 1e-12 * squares);
    score_.correlation[at] = constant ? 0.0f : static_cast<float>((products - sum * sum_ / weights_) / std::sqrt(spread * spread_));
  }
}

}  // namespace lethe
