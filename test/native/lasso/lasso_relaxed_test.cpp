// The relaxed Lasso against least squares by elimination, lambda as a share of lambda_max, and the scores of a path against naive fits.
#include "lasso/lasso_fixture.h"
#include "lethe/base/isa.h"

using namespace lethe;
using namespace lethe::test;

namespace {

std::vector<TargetFit> fitAt(const Problem& problem, const FitOptions& options, double ratio, double relaxation, int64_t numTargets = kManyTargets) {
  const std::vector<double> ratios(problem.targets, ratio), relaxations(problem.targets, relaxation);
  TargetView targets = problem.targetView();
  targets.lambdaRatio = ratios.data();
  targets.relaxation = relaxations.data();
  return fit(*open(problem, options, numTargets), targets, options);
}

FitOptions pooled(int64_t models, double gapTolerance) {
  FitOptions options = selecting(models, 1, 5);
  options.pooled = true;
  options.gapTolerance = gapTolerance;
  return options;
}

void checkAgainstLeastSquares(const Problem& problem, Isa isa, double ratio) {
  FitOptions options = pooled(problem.models, 1e-8);
  options.isa = isaName(isa);
  const std::vector<TargetFit> lasso = fitAt(problem, options, ratio, 0), refitted = fitAt(problem, options, ratio, 1);
  const std::vector<TargetFit> mixture = fitAt(problem, options, ratio, 0.25), counted = fitAt(problem, options, ratio, 1, 1);
  for (int64_t t = 0; t < problem.targets; ++t) {
    const std::string at = std::string(isaName(isa)) + ", share " + std::to_string(ratio) + ", target " + std::to_string(t);
    const reference::LassoProblem column = problem.column(t);
    const double largest = reference::lambdaMax(column);
    quietly(std::fabs(lasso[t].lambda / (ratio * largest) - 1) < 1e-6, "lambda is the share of lambda_max: " + at);
    quietly(lasso[t].indices == refitted[t].indices && refitted[t].status == FitStatus::converged, "the support is the Lasso's: " + at);
    const reference::LassoSolution truth = reference::leastSquares(column, refitted[t].indices);
    const std::vector<double> one = dense(refitted[t], problem.examples), quarter = dense(mixture[t], problem.examples);
    const std::vector<double> zero = dense(lasso[t], problem.examples);
    double worst = 0, scale = 0, mixed = 0;
    for (int64_t j = 0; j < problem.examples; ++j) {
      scale = std::max(scale, std::fabs(truth.weight[j]));
      worst = std::max(worst, std::fabs(one[j] - truth.weight[j]));
      mixed = std::max(mixed, std::fabs(quarter[j] - 0.75 * zero[j] - 0.25 * truth.weight[j]));
    }
    quietly(worst <= 1e-5 * scale && std::fabs(static_cast<double>(refitted[t].bias) - truth.bias) <= 1e-5 * (1 + std::fabs(truth.bias)),
            "least squares on the support, off by " + std::to_string(worst / scale) + ": " + at);
    quietly(mixed <= 1e-5 * scale, "a quarter of least squares: " + at);
    quietly(refitted[t].gap <= 1e-8, "the gap is certified: " + at);
    quietly(same(refitted[t], counted[t]), "tables change no bit: " + at);
  }
}

// Equal columns share what they explain; what is predicted is that of least squares on one of them.
void testEqualColumns() {
  Problem problem(120, 30, 3, 5);
  problem.copyColumn(2, 9);
  for (int64_t i = 0; i < problem.models; ++i) {
    for (int64_t t = 0; t < 3; ++t) problem.values[i * 3 + t] += static_cast<float>(9 * problem.mask[i * 30 + 2]);
  }
  const std::vector<TargetFit> fits = fitAt(problem, pooled(120, 1e-6), 0.2, 1);
  for (int64_t t = 0; t < 3; ++t) {
    std::vector<int32_t> columns;
    for (int32_t j : fits[t].indices) {
      if (j != 9) columns.push_back(j);
    }
    const reference::LassoSolution truth = reference::leastSquares(problem.column(t), columns);
    const std::vector<double> weight = dense(fits[t], 30);
    expect(fits[t].status == FitStatus::converged && std::fabs(weight[2] + weight[9] - truth.weight[2]) < 1e-3 * std::fabs(truth.weight[2]),
           "equal columns together have the weight of one");
  }
}

void testOptions() {
  const Problem problem(60, 20, 2, 3);
  const FitOptions options = pooled(60, 1e-4);
  const auto design = open(problem, options, 10);
  std::vector<TargetFit> fits;
  expect(fitDatamodels(*design, problem.targetView(), options, {}, fits).code == "LETHE_ARGUMENT_INVALID", "a pooled design needs a share for every target");
  for (double ratio : {0.0, -1.0, HUGE_VAL, std::numeric_limits<double>::quiet_NaN()}) {
    const std::vector<double> ratios(2, ratio);
    TargetView targets = problem.targetView();
    targets.lambdaRatio = ratios.data();
    expect(fitDatamodels(*design, targets, options, {}, fits).code == "LETHE_ARGUMENT_INVALID", "shares are finite and above 0");
  }
  expect(fitAt(problem, options, 1, 1)[0].indices.empty() && fitAt(problem, options, 7, 0.5)[1].indices.empty(), "from lambda_max on all weights are zero");
  std::vector<PathScore> scores;
  expect(scorePaths(*design, problem.targetView(), options, {0, 2}, {}, scores).code == "LETHE_ARGUMENT_INVALID", "relaxations are shares");
}

// Scores are those of the Lasso without the held-out models, at every lambda, and of least squares on its support.
void testScores() {
  const Problem problem(260, 60, 4, 11);
  FitOptions options = pooled(260, 1e-4);
  options.pathLength = 40;
  options.lambdaMinRatio = 0.05;
  const std::vector<double> relaxations{0, 0.5, 1};
  std::vector<PathScore> scores, threaded;
  const auto design = open(problem, options, 10);
  expect(scorePaths(*design, problem.targetView(), options, relaxations, {}, scores).ok() && scores.size() == 4, "scores of four targets");
  options.threads = 2;
  expect(scorePaths(*design, problem.targetView(), options, relaxations, {}, threaded).ok(), "on two threads");
  std::vector<uint8_t> kept;
  for (int64_t i = 0; i < 260; ++i) kept.push_back(options.fold[i] < 0);
  const Problem seen = problem.repeated(kept);
  int compared = 0;
  for (int64_t t = 0; t < 4; ++t) {
    expect(std::memcmp(scores[t].error.data(), threaded[t].error.data(), scores[t].error.size() * 4) == 0, "threads change no bit");
    const reference::LassoProblem column = seen.column(t);
    const double largest = reference::lambdaMax(column);
    for (int64_t k = 0; k < 40; ++k) {
      if (std::isnan(scores[t].error[k * 3])) break;
      if (k % 6 != 0) continue;
      const double ratio = std::pow(0.05, static_cast<double>(k) / 39);
      reference::LassoSolution lasso = reference::lassoSolve(column, ratio * largest);
      std::vector<int32_t> support;
      for (int32_t j = 0; j < 60; ++j) {
        if (lasso.weight[j] != 0) support.push_back(j);
      }
      const reference::LassoSolution refitted = reference::leastSquares(column, support);
      for (size_t r = 0; r < 3; ++r) {
        double truth = 0, ours = 0, products = 0, square = 0, other = 0, count = 0, errors = 0, zeros = 0, average = 0;
        for (double value : column.target) average += value / static_cast<double>(column.models);
        for (int64_t i = 0; i < 260; ++i) {
          if (kept[i]) continue;
          const double y = static_cast<double>(problem.values[i * 4 + t]);
          double prediction = (1 - relaxations[r]) * lasso.bias + relaxations[r] * refitted.bias;
          for (int64_t j = 0; j < 60; ++j) {
            prediction += ((1 - relaxations[r]) * lasso.weight[j] + relaxations[r] * refitted.weight[j]) * problem.mask[i * 60 + j];
          }
          errors += (y - prediction) * (y - prediction);
          zeros += (y - average) * (y - average);
          truth += y, ours += prediction, products += y * prediction, square += prediction * prediction, other += y * y, count += 1;
        }
        const double spread = square - ours * ours / count;
        const double correlation = spread > 1e-9 ? (products - ours * truth / count) / std::sqrt(spread * (other - truth * truth / count)) : 0;
        const size_t at = static_cast<size_t>(k) * 3 + r;
        // the path is solved to 1e-2 and interpolated; supports come and go in between
        expect(std::fabs(static_cast<double>(scores[t].error[at]) - errors / zeros) < (r == 0 ? 0.02 : 0.06),
               "error " + std::to_string(scores[t].error[at]) + " of " + std::to_string(errors / zeros) + " at lambda " + std::to_string(k));
        expect(std::fabs(static_cast<double>(scores[t].correlation[at]) - correlation) < (r == 0 ? 0.03 : 0.08),
               "correlation " + std::to_string(scores[t].correlation[at]) + " of " + std::to_string(correlation) + " at lambda " + std::to_string(k));
        ++compared;
      }
    }
  }
  expect(compared > 40, "enough lambdas are reached");
}

}  // namespace

int main() {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const Problem problem(90 + 30 * static_cast<int64_t>(seed), 40, 3, seed, seed % 2 ? 128 : 70);
    for (Isa isa : availableIsas()) {
      for (double ratio : {0.7, 0.3}) checkAgainstLeastSquares(problem, isa, ratio);
    }
  }
  testEqualColumns();
  testOptions();
  testScores();
  return finish();
}
