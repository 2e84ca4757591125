// Naive double-precision twins of the datamodel fit: no cleverness, used by tests and benches only.
#pragma once
#include <cstdint>
#include <vector>

namespace lethe::reference {

struct LassoProblem {
  int64_t models = 0, examples = 0;
  std::vector<uint8_t> mask;   // (models, examples) row-major, 0 or 1
  std::vector<double> target;  // (models)
};

struct LassoSolution {
  double bias = 0;
  std::vector<double> weight;  // (examples)
};

// max_j |x_j^T (y - mean y)| / m
double lambdaMax(const LassoProblem& problem);

// 1/(2m) ||y - X w - b||^2 + lambda ||w||_1
double lassoObjective(const LassoProblem& problem, double lambda, const LassoSolution& solution);

// Relative duality gap: (primal - dual) / (||y - mean||^2 / 2m), the intercept at its optimum for the weights.
double lassoRelativeGap(const LassoProblem& problem, double lambda, const std::vector<double>& weight);

// Cyclic coordinate descent on dense centred columns until a sweep changes no weight by more than 1e-14 of the largest.
LassoSolution lassoSolve(const LassoProblem& problem, double lambda);

// Least squares with an intercept on these columns, by elimination with pivots on the centred normal equations; other weights are zero.
// The columns must be independent.
LassoSolution leastSquares(const LassoProblem& problem, const std::vector<int32_t>& columns);

}  // namespace lethe::reference
