// The relaxed Lasso (Meinshausen 2007): least squares on the support of a Lasso solution, and mixtures of the two. The Lasso's weights are
// shrunk by about lambda / variance of a mask column; those of least squares are not.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/lasso/refit.h"

namespace lethe {

namespace {

constexpr int64_t kRefitRounds = 20;
constexpr double kRefitGap = 1e-3;  // share of the gap tolerance to which least squares are solved: a round more is cheap

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

// gradient[k] = x_j^T residual of column j = columns[k], centred
void TargetSolver::correlateSupport(const std::vector<int32_t>& columns, std::vector<double>& gradient) const {
  const BitColumns& x = design_.columns();
  const int64_t words = rowSet_->extent / 64;
  double total = 0;
  for (double value : residual_) total += value;
  const double share = total / count();
  gradient.resize(columns.size());
  for (size_t k = 0; k < columns.size(); ++k) {
    const uint8_t* bits = x.bits + columns[k] * x.stride();
    double sum = 0;
    for (int64_t w = 0; w < words; ++w) {
      uint64_t word;
      std::memcpy(&word, bits + 8 * w, 8);
      for (; word != 0; word &= word - 1) sum += residual_[64 * w + __builtin_ctzll(word)];
    }
    gradient[k] = sum - share * rowSet_->seen[columns[k]];
  }
}

double TargetSolver::refitSupport(WorkingSet& set, SparseWeights& solution) {
  std::vector<int32_t> positions;
  for (int32_t column : solution.columns) positions.push_back(set.positionOf(column));
  std::vector<double> gradient, change;
  double gap = HUGE_VAL;
  for (int64_t round = 0; round < kRefitRounds; ++round) {
    setResidual(solution);
    correlateSupport(solution.columns, gradient);
    set.solveLeastSquares(positions, gradient, change);
    // g^T H^-1 g / 2m above the optimum, as a share of ||y||^2 / 2m = 1 / 2
    gap = std::max(0.0, dot(gradient, change) / count());
    if (gap <= kRefitGap * options_.gapTolerance) break;
    for (size_t k = 0; k < change.size(); ++k) solution.weights[k] += change[k];
  }
  return gap;
}

void TargetSolver::conclude(FitStatus status, double lambda, double gap, const SparseWeights& solution, WorkingSet& set) {
  if (relaxation_ == 0 || solution.size() == 0) return finish(status, lambda, gap, solution);
  SparseWeights refitted = solution;
  const double refitGap = refitSupport(set, refitted);
  if (refitGap > options_.gapTolerance) status = FitStatus::unconverged;
  for (int64_t k = 0; k < refitted.size(); ++k) {
    refitted.weights[k] = (1 - relaxation_) * solution.weights[k] + relaxation_ * refitted.weights[k];
  }
  finish(status, lambda, std::max(gap, refitGap), refitted);
}

SolvedElsewhere::SolvedElsewhere(const LassoDesign& design, const FitOptions& options) : TargetSolver(design, options, nullptr), set_(design) {}

TargetFit SolvedElsewhere::conclude(const float* values, double relaxation, const RowSet& models, const LassoResult& lasso) {
  fit() = TargetFit{};
  relaxation_ = relaxation;
  takeRows(values);
  useRows(models);
  set_.reset(models, false);
  SparseWeights solution;
  for (int64_t k = 0; k < lasso.weights.size(); ++k) {
    if (lasso.weights.weights[k] != 0) solution.push(lasso.weights.columns[k], lasso.weights.weights[k] / scale_);
  }
  if (relaxation_ > 0) {
    for (int32_t column : solution.columns) set_.add(column, 0.0);
    set_.complete();
  }
  TargetSolver::conclude(lasso.status, lasso.lambda / scale_, lasso.gap, solution, set_);
  return std::move(fit());
}

}  // namespace lethe
