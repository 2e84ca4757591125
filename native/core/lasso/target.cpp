#include "core/lasso/target.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lethe {

TargetInput inputOf(const TargetView& targets, const FitOptions& options, int64_t t, const float* column) {
  TargetInput input;
  input.column = column;
  input.weightStride = (targets.numTargets + targets.targetsPerWeight - 1) / targets.targetsPerWeight;
  if (targets.rowWeights) input.rowWeights = targets.rowWeights + t / targets.targetsPerWeight;
  if (targets.lambdaRatio) input.lambdaRatio = targets.lambdaRatio[t];
  input.relaxation = targets.relaxation ? targets.relaxation[t] : options.relaxation;
  return input;
}

void ColumnFacts::add(float value) {
  if (!any_) first_ = value;
  any_ = true;
  finite_ = finite_ && std::isfinite(value);
  constant_ = constant_ && value == first_;
}

TargetFit ColumnFacts::fit(const FitOptions& options, double lambdaRatio) const {
  TargetFit fit;
  if (!finite_ || !any_) {  // no model is left: nothing is known of the target
    fit.status = FitStatus::nonfinite;
    fit.bias = std::numeric_limits<float>::quiet_NaN();
    fit.lambda = fit.gap = std::numeric_limits<double>::quiet_NaN();
  } else {
    fit.status = FitStatus::constant;
    fit.bias = first_;
    fit.lambda = options.fold.empty() && lambdaRatio == 0 ? options.lambda : 0;
  }
  return fit;
}

std::unique_ptr<TargetSolver> makeSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored) {
  return options.estimator == Estimator::lasso ? makeLassoSolver(design, options, scored) : makeMarginalSolver(design, options, scored);
}

TargetSolver::TargetSolver(const LassoDesign& design, const FitOptions& options, const std::vector<double>* scored)
    : design_(design), kernels_(design.kernels()), options_(options), scored_(scored), correlation_(design.columns().columns) {
  for (std::vector<double>* values : {&raw_, &target_, &rest_, &residual_}) values->resize(design.columns().rows);
  for (std::vector<float>* values : {&targetFloat_, &restFloat_}) values->resize(design.columns().rows);
}

Wanted TargetSolver::advance(const std::vector<int32_t>&, const TaskControl&) { return Wanted::none; }

Wanted TargetSolver::begin(const TargetInput& input) {
  fit_ = TargetFit{};
  scorer_.score() = PathScore{};
  path_.emplace(options_, input.lambdaRatio);
  relaxation_ = input.relaxation;
  own_.clear();
  if (input.rowWeights) {
    own_.push_back(design_.weighted(design_.all(), input.rowWeights, input.weightStride));
    for (int64_t k = 0; k < design_.numFolds() && (selecting() || scoring()); ++k) {
      own_.push_back(design_.weighted(design_.withoutFold(k), input.rowWeights, input.weightStride));
    }
  }
  const std::vector<int32_t>& models = design_.modelOfRow();
  const std::vector<float>& weights = rows(-1).rowWeight;
  ColumnFacts facts;
  for (size_t row = 0; row < models.size(); ++row) {
    raw_[row] = 0;
    if (weights[row] == 0) continue;
    const float value = input.column[models[row]];
    facts.add(value);
    raw_[row] = static_cast<double>(value);
  }
  if (!facts.isToFit()) {
    fit_ = facts.fit(options_, input.lambdaRatio);
    return Wanted::none;
  }
  return start();
}

const RowSet& TargetSolver::rows(int64_t fold) {
  if (!own_.empty()) return own_[fold + 1];
  return fold < 0 ? design_.all() : design_.withoutFold(fold);
}

void TargetSolver::takeRows(const float* values) {
  for (size_t row = 0; row < raw_.size(); ++row) raw_[row] = static_cast<double>(values[row]);
}

double TargetSolver::weightedMean(const std::vector<double>& values) const {
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += static_cast<double>(rowSet_->rowWeight[i]) * values[i];
  return sum / count();
}

bool TargetSolver::useRows(const RowSet& rowSet) {
  rowSet_ = &rowSet;
  if (rowSet.count == 0) return false;
  mean_ = weightedMean(raw_);
  double squares = 0, largest = 0;
  const std::vector<float>& weights = rows(-1).rowWeight;
  for (size_t i = 0; i < raw_.size(); ++i) {
    target_[i] = weights[i] == 0 ? 0.0 : raw_[i] - mean_;
    if (rowSet.rowWeight[i] == 0) continue;
    squares += static_cast<double>(rowSet.rowWeight[i]) * target_[i] * target_[i];
    largest = std::max(largest, std::fabs(raw_[i]));
  }
  scale_ = std::sqrt(squares / count());
  // below this the spread is rounding noise of the mean
  if (!(scale_ > 1e-14 * largest)) return false;
  for (size_t i = 0; i < target_.size(); ++i) {
    target_[i] /= scale_;
    targetFloat_[i] = static_cast<float>(target_[i]);
  }
  if (options_.standardise) {
    factor_.resize(rowSet.diagonal.size());
    for (size_t j = 0; j < factor_.size(); ++j) {
      factor_[j] = rowSet.constant(static_cast<int32_t>(j)) ? 1.0f : std::sqrt(rowSet.diagonal[j] / static_cast<float>(rowSet.count));
    }
  }
  return true;
}

// residual = (what the solution leaves - its mean) * row weight. Four partial sums, so that the additions overlap.
template <typename Real>
void TargetSolver::weighResidual(const std::vector<Real>& unweighted) {
  const float* weight = rowSet_->rowWeight.data();
  const int64_t extent = rowSet_->extent;
  double sums[4] = {0, 0, 0, 0};
  for (int64_t i = 0; i < extent; i += 4) {
    for (int64_t k = 0; k < 4; ++k) sums[k] += static_cast<double>(weight[i + k]) * static_cast<double>(unweighted[i + k]);
  }
  const double mean = ((sums[0] + sums[1]) + (sums[2] + sums[3])) / count();
  for (int64_t i = 0; i < extent; ++i) residual_[i] = (static_cast<double>(unweighted[i]) - mean) * static_cast<double>(weight[i]);
  std::fill(residual_.begin() + extent, residual_.end(), 0.0);
}

void TargetSolver::setResidual(const SparseWeights& solution) {
  kernels_.residual(design_.columns(), 0, rowSet_->extent, target_.data(), solution.size(), solution.columns.data(), solution.weights.data(), rest_.data());
  weighResidual(rest_);
}

void TargetSolver::setScreenResidual(const SparseWeights& solution, double floor, double bound) {
  weightsFloat_.assign(solution.weights.begin(), solution.weights.end());
  kernels_.residualFloat(design_.columns(), 0, rowSet_->extent, targetFloat_.data(), solution.size(), solution.columns.data(), weightsFloat_.data(),
                         restFloat_.data());
  weighResidual(restFloat_);
  screenFloor_ = floor;
  screenBound_ = bound;
}

void TargetSolver::beginScores(int64_t lambdas) {
  std::vector<float> rootWeight, errors;
  for (int64_t i = rowSet_->heldFrom; i < rowSet_->heldTo; ++i) rootWeight.push_back(std::sqrt(rows(-1).rowWeight[i]));
  heldOutErrors(SparseWeights{}, errors);
  scorer_.begin(lambdas, *scored_, rootWeight, errors);
}

void TargetSolver::heldOutErrors(const SparseWeights& solution, std::vector<float>& errors) {
  const int64_t from = rowSet_->heldFrom, to = rowSet_->heldTo;
  weightsFloat_.assign(solution.weights.begin(), solution.weights.end());
  kernels_.residualFloat(design_.columns(), from, to, targetFloat_.data(), solution.size(), solution.columns.data(), weightsFloat_.data(), restFloat_.data());
  double shift = 0;  // the intercept: target and columns are centred on the fitted models
  for (int64_t k = 0; k < solution.size(); ++k) shift += solution.weights[k] * rowSet_->seen[solution.columns[k]];
  shift /= count();
  const std::vector<float>& weights = rows(-1).rowWeight;
  errors.resize(to - from);
  for (int64_t i = from; i < to; ++i) errors[i - from] = (restFloat_[i] + static_cast<float>(shift)) * std::sqrt(weights[i]);
}

double TargetSolver::relativeGap(double largest, double lambda, double penalised) const {
  double squares = 0, product = 0;
  for (size_t i = 0; i < residual_.size(); ++i) {
    if (residual_[i] == 0) continue;
    squares += residual_[i] * residual_[i] / static_cast<double>(rowSet_->rowWeight[i]);
    product += residual_[i] * target_[i];
  }
  squares /= count();
  product /= count();
  return lethe::relativeGap(squares, product, largest / count(), lambda, penalised);
}

double TargetSolver::penalised(const SparseWeights& solution) const {
  double sum = 0;
  for (int64_t k = 0; k < solution.size(); ++k) {
    sum += std::fabs(solution.weights[k]) * (factor_.empty() ? 1.0 : static_cast<double>(factor_[solution.columns[k]]));
  }
  return sum;
}

void TargetSolver::finish(FitStatus status, double lambda, double gap, const SparseWeights& solution) {
  fit_.status = status;
  fit_.lambda = lambda * scale_;
  fit_.gap = gap;
  std::vector<size_t> order(solution.columns.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return solution.columns[a] < solution.columns[b]; });
  double bias = mean_;
  for (size_t k : order) {
    const float weight = static_cast<float>(solution.weights[k] * scale_);
    if (weight == 0) continue;
    const int32_t column = solution.columns[k];
    fit_.indices.push_back(column);
    fit_.weights.push_back(weight);
    bias -= static_cast<double>(weight) * rowSet_->seen[column] / count();
  }
  fit_.bias = static_cast<float>(bias);
}

}  // namespace lethe
