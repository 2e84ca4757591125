#include "core/lasso_target.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lethe {

TargetSolver::TargetSolver(const LassoDesign& design, const LassoKernels& kernels, const FitOptions& options)
    : design_(design), kernels_(kernels), options_(options), correlation_(design.columns().columns) {
  raw_.resize(design.columns().rows);
  target_.resize(design.columns().rows);
  residual_.resize(design.columns().rows);
}

bool TargetSolver::begin(const float* column) {
  fit_ = TargetFit{};
  const std::vector<int32_t>& models = design_.modelOfRow();
  bool finite = true, constant = true;
  for (size_t row = 0; row < models.size(); ++row) {
    raw_[row] = models[row] < 0 ? 0.0 : column[models[row]];
    finite = finite && std::isfinite(raw_[row]);
    constant = constant && (models[row] < 0 || column[models[row]] == column[0]);
  }
  if (!finite) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    fit_.status = FitStatus::nonfinite;
    fit_.bias = nan;
    fit_.lambda = fit_.gap = nan;
    return false;
  }
  if (constant) {
    fit_.status = FitStatus::constant;
    fit_.bias = column[0];
    fit_.lambda = options_.holdout.empty() ? options_.lambda : 0;
    return false;
  }
  start();
  return true;
}

double TargetSolver::meanOver(const std::vector<double>& values) const {
  double sum = 0;
  for (int64_t i = 0; i < subset_->firstTo; ++i) sum += values[i];
  for (int64_t i = subset_->secondFrom; i < subset_->secondTo; ++i) sum += values[i];
  return sum / static_cast<double>(subset_->count);
}

bool TargetSolver::useRows(const RowSubset& subset) {
  subset_ = &subset;
  mean_ = meanOver(raw_);
  double squares = 0, largest = 0;
  const std::vector<int32_t>& models = design_.modelOfRow();
  for (size_t i = 0; i < raw_.size(); ++i) {
    target_[i] = models[i] < 0 ? 0.0 : raw_[i] - mean_;
    const bool inside = static_cast<int64_t>(i) < subset.firstTo ||
                        (static_cast<int64_t>(i) >= subset.secondFrom && static_cast<int64_t>(i) < subset.secondTo);
    if (!inside) continue;
    squares += target_[i] * target_[i];
    largest = std::max(largest, std::fabs(raw_[i]));
  }
  scale_ = std::sqrt(squares / static_cast<double>(subset.count));
  // below this the spread is rounding noise of the mean
  if (!(scale_ > 1e-14 * largest)) return false;
  for (double& value : target_) value /= scale_;
  return true;
}

void TargetSolver::setResidual(const std::vector<int32_t>& columns, const std::vector<double>& weights) {
  std::fill(residual_.begin() + subset_->extent, residual_.end(), 0.0);
  kernels_.residual(design_.columns(), 0, subset_->extent, target_.data(), static_cast<int64_t>(columns.size()), columns.data(),
                    weights.data(), residual_.data());
  const double mean = meanOver(residual_);
  for (int64_t i = 0; i < subset_->firstTo; ++i) residual_[i] -= mean;
  for (int64_t i = subset_->secondFrom; i < subset_->secondTo; ++i) residual_[i] -= mean;
}

double TargetSolver::holdoutError(const std::vector<int32_t>& columns, const std::vector<double>& weights) {
  const int64_t from = design_.holdoutFrom(), to = design_.holdoutTo();
  kernels_.residual(design_.columns(), from, design_.columns().rows, target_.data(), static_cast<int64_t>(columns.size()), columns.data(),
                    weights.data(), residual_.data());
  double shift = 0;  // the intercept: target and columns are centred on the fitted models
  for (size_t k = 0; k < columns.size(); ++k) shift += weights[k] * subset_->seen[columns[k]];
  shift /= static_cast<double>(subset_->count);
  double sum = 0;
  for (int64_t i = from; i < to; ++i) sum += (residual_[i] + shift) * (residual_[i] + shift);
  return sum / static_cast<double>(to - from);
}

double TargetSolver::relativeGap(double largest, double lambda, double absoluteWeights) const {
  double squares = 0, product = 0;
  for (int64_t i = 0; i < subset_->extent; ++i) {
    squares += residual_[i] * residual_[i];
    product += residual_[i] * target_[i];
  }
  squares /= static_cast<double>(subset_->count);
  product /= static_cast<double>(subset_->count);
  if (squares == 0) return 2 * lambda * absoluteWeights;  // a perfect fit: the dual point is 0
  // the best dual feasible multiple of the residual: |x_j^T s r| / m <= lambda
  double s = product / squares;
  if (largest > 0) s = std::min(s, lambda / largest);
  const double primal = squares / 2 + lambda * absoluteWeights;
  const double dual = s * product - s * s * squares / 2;
  return std::max(0.0, 2 * (primal - dual));  // y has mean square 1
}

void TargetSolver::finish(FitStatus status, double lambda, double gap, const std::vector<int32_t>& columns,
                          const std::vector<double>& weights) {
  fit_.status = status;
  fit_.lambda = lambda * scale_;
  fit_.gap = gap;
  std::vector<size_t> order(columns.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return columns[a] < columns[b]; });
  double bias = mean_;
  for (size_t k : order) {
    const float weight = static_cast<float>(weights[k] * scale_);
    if (weight == 0) continue;
    fit_.indices.push_back(columns[k]);
    fit_.weights.push_back(weight);
    bias -= static_cast<double>(weight) * subset_->seen[columns[k]] / static_cast<double>(subset_->count);
  }
  fit_.bias = static_cast<float>(bias);
}

std::vector<double> TargetSolver::lambdaGrid(double largest) const {
  std::vector<double> grid;
  const double steps = static_cast<double>(std::max<int64_t>(options_.pathLength - 1, 1));
  for (int64_t k = 0; k < options_.pathLength; ++k) grid.push_back(largest * std::pow(options_.lambdaMinRatio, static_cast<double>(k) / steps));
  return grid;
}

}  // namespace lethe
