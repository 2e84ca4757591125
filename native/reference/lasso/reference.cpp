#include "reference/lasso/reference.h"

#include <algorithm>
#include <cmath>

namespace lethe::reference {

namespace {

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::vector<double> centredColumn(const LassoProblem& problem, int64_t j) {
  std::vector<double> column;
  for (int64_t i = 0; i < problem.models; ++i) column.push_back(problem.mask[i * problem.examples + j]);
  const double average = mean(column);
  for (double& value : column) value -= average;
  return column;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

std::vector<double> centredTarget(const LassoProblem& problem) {
  std::vector<double> target = problem.target;
  const double average = mean(target);
  for (double& value : target) value -= average;
  return target;
}

}  // namespace

double lambdaMax(const LassoProblem& problem) {
  const std::vector<double> target = centredTarget(problem);
  double largest = 0;
  for (int64_t j = 0; j < problem.examples; ++j) largest = std::max(largest, std::fabs(dot(centredColumn(problem, j), target)));
  return largest / static_cast<double>(problem.models);
}

double lassoObjective(const LassoProblem& problem, double lambda, const LassoSolution& solution) {
  double squares = 0, absolute = 0;
  for (int64_t i = 0; i < problem.models; ++i) {
    double rest = problem.target[i] - solution.bias;
    for (int64_t j = 0; j < problem.examples; ++j) rest -= problem.mask[i * problem.examples + j] * solution.weight[j];
    squares += rest * rest;
  }
  for (double weight : solution.weight) absolute += std::fabs(weight);
  return squares / (2 * static_cast<double>(problem.models)) + lambda * absolute;
}

double lassoRelativeGap(const LassoProblem& problem, double lambda, const std::vector<double>& weight) {
  const std::vector<double> target = centredTarget(problem);
  std::vector<double> rest = target;
  double absolute = 0, largest = 0;
  for (int64_t j = 0; j < problem.examples; ++j) {
    const std::vector<double> column = centredColumn(problem, j);
    for (int64_t i = 0; i < problem.models; ++i) rest[i] -= weight[j] * column[i];
    absolute += std::fabs(weight[j]);
  }
  const double m = static_cast<double>(problem.models), squares = dot(rest, rest) / m, product = dot(rest, target) / m;
  for (int64_t j = 0; j < problem.examples; ++j) largest = std::max(largest, std::fabs(dot(centredColumn(problem, j), rest)) / m);
  double s = squares > 0 ? product / squares : 0;
  if (largest > 0) s = std::min(s, lambda / largest);
  const double primal = squares / 2 + lambda * absolute, dual = s * product - s * s * squares / 2;
  return (primal - dual) / (dot(target, target) / (2 * m));
}

LassoSolution lassoSolve(const LassoProblem& problem, double lambda) {
  std::vector<std::vector<double>> columns;
  for (int64_t j = 0; j < problem.examples; ++j) columns.push_back(centredColumn(problem, j));
  std::vector<double> rest = centredTarget(problem);
  LassoSolution solution;
  solution.weight.assign(problem.examples, 0.0);
  const double m = static_cast<double>(problem.models);
  for (int sweep = 0; sweep < 100000; ++sweep) {
    double moved = 0, largest = 0;
    for (int64_t j = 0; j < problem.examples; ++j) {
      const double square = dot(columns[j], columns[j]) / m;
      if (square == 0) continue;
      const double pull = dot(columns[j], rest) / m + square * solution.weight[j];
      const double weight = std::copysign(std::max(std::fabs(pull) - lambda, 0.0), pull) / square, change = weight - solution.weight[j];
      for (int64_t i = 0; i < problem.models; ++i) rest[i] -= change * columns[j][i];
      solution.weight[j] = weight;
      moved = std::max(moved, std::fabs(change));
      largest = std::max(largest, std::fabs(weight));
    }
    if (moved <= 1e-14 * largest) break;
  }
  solution.bias = mean(problem.target);
  for (int64_t j = 0; j < problem.examples; ++j) {
    double seen = 0;
    for (int64_t i = 0; i < problem.models; ++i) seen += problem.mask[i * problem.examples + j];
    solution.bias -= solution.weight[j] * seen / m;
  }
  return solution;
}

LassoSolution leastSquares(const LassoProblem& problem, const std::vector<int32_t>& columns) {
  const size_t count = columns.size();
  const std::vector<double> target = centredTarget(problem);
  std::vector<std::vector<double>> rows(count, std::vector<double>(count + 1));
  for (size_t p = 0; p < count; ++p) {
    const std::vector<double> column = centredColumn(problem, columns[p]);
    for (size_t q = 0; q < count; ++q) rows[p][q] = dot(column, centredColumn(problem, columns[q]));
    rows[p][count] = dot(column, target);
  }
  for (size_t p = 0; p < count; ++p) {
    size_t pivot = p;
    for (size_t q = p + 1; q < count; ++q) {
      if (std::fabs(rows[q][p]) > std::fabs(rows[pivot][p])) pivot = q;
    }
    std::swap(rows[p], rows[pivot]);
    for (size_t q = 0; q < count; ++q) {
      if (q == p) continue;
      const double factor = rows[q][p] / rows[p][p];
      for (size_t k = p; k <= count; ++k) rows[q][k] -= factor * rows[p][k];
    }
  }
  LassoSolution solution;
  solution.weight.assign(problem.examples, 0.0);
  solution.bias = mean(problem.target);
  for (size_t p = 0; p < count; ++p) {
    solution.weight[columns[p]] = rows[p][count] / rows[p][p];
    double seen = 0;
    for (int64_t i = 0; i < problem.models; ++i) seen += problem.mask[i * problem.examples + columns[p]];
    solution.bias -= solution.weight[columns[p]] * seen / static_cast<double>(problem.models);
  }
  return solution;
}

}  // namespace lethe::reference
