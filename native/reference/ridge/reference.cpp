#include "reference/ridge/reference.h"

namespace lethe::reference {

namespace {

double predict(const Vector& row, const Vector& theta) {
  double sum = 0;
  for (size_t j = 0; j < row.size(); ++j) sum += row[j] * theta[j];
  return sum;
}

// gradient += factor * 2 (x . theta - target) x
void addSquaredError(const Vector& row, double target, double factor, const Vector& theta, Vector& gradient) {
  const double error = predict(row, theta) - target;
  for (size_t j = 0; j < row.size(); ++j) gradient[j] += factor * 2 * error * row[j];
}

}  // namespace

Vector ridgeStep(const RidgeProblem& problem, Method method, double ascentWeight, double step, const std::vector<size_t>& batch, const Vector& theta) {
  const size_t numTrain = problem.x.size(), numRetain = numTrain - problem.numForget;
  std::vector<size_t> points = batch;
  if (batch.empty()) {
    for (size_t i = 0; i < numTrain; ++i) points.push_back(i);
  }
  const bool ridge = method == Method::descent || method == Method::ascent;
  Vector gradient(theta.size(), 0.0);
  for (size_t i : points) {
    const bool forget = i >= numRetain;
    const double target = ridge ? problem.y[i] : predict(problem.x[i], problem.thetaStar);
    if (!forget || method == Method::matching) {
      addSquaredError(problem.x[i], target, 1, theta, gradient);
    } else if (method == Method::ascent) {
      addSquaredError(problem.x[i], target, -ascentWeight, theta, gradient);
    }
    if (ridge && !forget) {
      for (size_t j = 0; j < theta.size(); ++j) gradient[j] += 2 * problem.lambda / static_cast<double>(numRetain) * theta[j];
    }
  }
  Vector next = theta;
  for (size_t j = 0; j < theta.size(); ++j) next[j] -= step * gradient[j];
  return next;
}

}  // namespace lethe::reference
