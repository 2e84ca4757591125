// Naive twin of the linear study: explicit parameter vectors in R^d, gradients straight from the formulas of Appendix E.3.
#pragma once
#include <cstddef>
#include <vector>

namespace lethe::reference {

using Vector = std::vector<double>;

enum class Method { descent, ascent, matching, matchingRetain };

// Rows of `x` are points in any dimension; the last numForget of them are the forget points.
struct RidgeProblem {
  std::vector<Vector> x;
  Vector y, thetaStar;
  size_t numForget = 0;
  double lambda = 0;
};

// One update theta - step * gradient. `batch` lists points; empty: all points that the method uses, with the whole penalty. In a batch
// each retain point brings lambda / numRetain of the penalty.
Vector ridgeStep(const RidgeProblem& problem, Method method, double ascentWeight, double step, const std::vector<size_t>& batch, const Vector& theta);

}  // namespace lethe::reference
