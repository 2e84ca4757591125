// The rules of a path by scripts of outcomes: no design, no device. The "target" is one whose solution is known in closed form.
#include <cmath>
#include <string>
#include <vector>

#include "base/check.h"
#include "core/lasso/path.h"

using namespace lethe;
using namespace lethe::test;

namespace {

FitOptions selectingOptions(int64_t pathLength, double lambdaMinRatio) {
  FitOptions options;
  options.fold = {0, 1, -1};
  options.pathLength = pathLength;
  options.lambdaMinRatio = lambdaMinRatio;
  return options;
}

bool near(double a, double b) { return std::fabs(a - b) <= 1e-12 * std::max(1.0, std::fabs(b)); }

// One orthogonal column of unit length: w(lambda) = c - lambda, held-out error (a - w)^2, which is least at lambda = c - a.
struct OneColumn {
  double c, a;
  double error(double lambda) const { return a - std::max(0.0, c - lambda); }
};

// Walks a path to its end; returns the steps' lambdas.
std::vector<double> walk(LambdaPath& path, const OneColumn& column, double scale) {
  std::vector<double> steps;
  path.begin(column.c, scale);
  path.cover();
  path.addErrors(0, 0, column.error(column.c) * column.error(column.c));
  double before = column.error(column.c);
  while (!path.ended() && !path.risen()) {
    path.chooseNext();
    const double now = column.error(path.next());
    steps.push_back(path.next());
    path.step();
    path.cover();
    path.addErrors(before * before, before * now, now * now);
    before = now;
  }
  path.endFold();
  return steps;
}

void choosesTheBestLambdaOfBothFolds() {
  const FitOptions options = selectingOptions(100, 0.02);
  LambdaPath path(options, 0);
  expect(path.selecting() && path.nextFold(2) && path.fold() == 0, "the first fold");
  // the same column in two units: its errors count in that of the target
  const std::vector<double> first = walk(path, {1.0, 0.6}, 2.0);
  expect(path.nextFold(2) && path.fold() == 1, "the second fold");
  walk(path, {0.5, 0.3}, 4.0);
  expect(!path.nextFold(2), "no third fold");
  expect(path.lambdas().size() == 100 && near(path.lambdas()[0], 2.0) && near(path.lambdas()[99], 0.04),
         "a grid from lambda_max of the first fold, of the target");
  // (0.6 - (1 - l / 2))^2 4 + (0.3 - (0.5 - l / 4))^2 16 is least at l = 0.8
  int64_t best = 0;
  double least = HUGE_VAL;
  for (int64_t k = 0; k < path.reached(); ++k) {
    const double l = path.lambdas()[k], a = OneColumn{1.0, 0.6}.error(l / 2), b = OneColumn{0.5, 0.3}.error(l / 4);
    if (4 * a * a + 16 * b * b < least) {
      least = 4 * a * a + 16 * b * b;
      best = k;
    }
  }
  expect(path.chosen() == path.lambdas()[best], "the lambda of the least error, whatever lies between two solutions");
  // fewer steps than lambdas, none longer than the rule
  expect(first.size() <= 34, "a step covers several lambdas");
  double at = 1.0;
  for (double next : first) {
    expect(next < at && next >= 0.865 * at * (1 - 1e-9), "a step no longer than 0.865");
    at = next;
  }
}

void endsWhereErrorsHaveRisen() {
  const FitOptions options = selectingOptions(100, 1e-3);
  LambdaPath path(options, 0);
  path.nextFold(1);
  walk(path, {1.0, 0.1}, 1.0);  // best at lambda 0.9, far before the end
  expect(path.reached() < 100, "the path ended early");
  const double ratio = std::pow(1e-3, 1.0 / 99);
  const double best = std::round(std::log(0.9) / std::log(ratio));
  expect(near(path.chosen(), std::pow(ratio, best)), "at the lambda nearest to the best");
  expect(path.reached() >= static_cast<int64_t>(best) + 20, "after twenty lambdas without a better one");
  expect(path.reached() <= static_cast<int64_t>(best) + 24, "and a step at most beyond them");
}

void coversSharesOfTheLastTwoSolutions() {
  const FitOptions options = selectingOptions(100, 0.1);
  LambdaPath path(options, 0);
  path.nextFold(1);
  path.begin(3.0, 1.0);
  const std::vector<Covered> start = path.cover();
  expect(start.size() == 1 && start[0].lambda == 0 && start[0].shareOfPrevious == 0, "lambda_max itself is covered by zero weights");
  path.addErrors(0, 0, 1);
  path.chooseNext();
  path.step();
  int64_t expected = 1;
  for (const auto& [lambda, share] : path.cover()) {
    expect(lambda == expected++, "every lambda once, in order");
    const double between = share * 3.0 + (1 - share) * path.at();
    expect(near(between, path.lambdas()[lambda]), "linear in lambda");
  }
  expect(near(path.lambdas()[expected - 1], path.at()), "the step ends on a lambda of the grid");
}

void givenLambda() {
  FitOptions options;
  options.lambda = 0.5;
  LambdaPath far(options, 0);
  expect(!far.selecting() && !far.nextFold(3), "nothing to select");
  far.begin(1.0, 2.0);  // 0.25 in the unit of the models
  expect(!far.atMaximum() && near(far.given(), 0.25), "a given lambda in the unit of the models");
  far.chooseNext();
  expect(near(far.next(), 0.65), "is reached by steps");
  expect(near(far.extrapolation(), 0), "nothing to extrapolate from at the start");
  far.step();
  expect(!far.arrived(), "not yet");
  far.chooseNext();
  expect(near(far.next(), 0.65 * 0.65) && near(far.extrapolation(), (0.65 - 0.65 * 0.65) / 0.35), "a straight path");
  far.step();
  far.chooseNext();
  far.step();
  far.chooseNext();
  expect(near(far.next(), 0.25) && far.entry() < 1, "the last step is that of the certificate");
  far.step();
  expect(far.arrived(), "arrived");

  LambdaPath ratio(options, 0.3);
  ratio.begin(2.0, 7.0);
  expect(near(ratio.given(), 0.6), "a share of lambda_max needs no unit");
  LambdaPath top(options, 0);
  top.begin(0.25, 2.0);
  expect(top.atMaximum(), "lambda_max is no path");
}

void nothingToChooseBy() {
  const FitOptions options = selectingOptions(10, 0.1);
  LambdaPath path(options, 0);
  while (path.nextFold(2)) {
  }
  expect(path.nothingToChooseBy(), "constant without either fold");
  LambdaPath zero(options, 0);
  zero.nextFold(2);
  zero.begin(0.0, 1.0);
  zero.cover();
  zero.addErrors(0, 0, 1);
  expect(zero.ended(), "no column says anything: the path is over");
  zero.endFold();
  expect(!zero.nothingToChooseBy() && zero.chosen() == 0, "and all its lambdas are zero");
}

void certifiesAndTightens() {
  FitOptions options;
  options.gapTolerance = 1e-4;
  LambdaPath path(options, 0);
  using Verdict = LambdaPath::Verdict;
  expect(path.certify(1e-9, 1.0, 0.5) == Verdict::solve, "a warm start that happens to pass is solved once");
  expect(path.certify(1e-9, 0.5, 0.5) == Verdict::converged, "but not at lambda_max");
  const double loose = path.finalTolerance(0.1, 5);
  expect(near(loose, 0.5 * 1e-4 / 0.5), "half the gap over lambda times the weights");
  path.beginRound(false);
  expect(path.finalTolerance(0.1, 5) == loose, "the first round tightens nothing");
  expect(path.certify(1e-5, 1.0, 0.5) == Verdict::converged && path.certify(1e-3, 1.0, 0.5) == Verdict::solve, "by the gap");
  path.beginRound(true);
  expect(path.finalTolerance(0.1, 5) == loose, "a round with new columns neither");
  path.beginRound(false);
  expect(path.finalTolerance(0.1, 5) == loose * kTightening, "one without was not exact enough");
  for (int64_t round = path.round(); round < 100; ++round) path.beginRound(true);
  expect(path.certify(1e-3, 1.0, 0.5) == Verdict::unconverged, "it ends after a hundred rounds");
}

// min 1/2 |y - x w|^2 + lambda |w| in means, y = x: primal and dual by hand.
void gapsAreThoseOfTheDefinition() {
  for (const double w : {0.0, 0.2, 0.7, 0.9, 1.0}) {
    const double lambda = 0.3, residual = 1 - w, largest = std::fabs(residual);
    const double s = residual == 0 ? 0 : std::min(1 / residual, lambda / largest);
    const double primal = residual * residual / 2 + lambda * w, dual = 0.5 - (1 - s * residual) * (1 - s * residual) / 2;
    const double gap = relativeGap(residual * residual, residual, largest, lambda, w);
    expect(near(gap, residual == 0 ? 2 * lambda * w : 2 * (primal - dual)), "the gap at w = " + std::to_string(w));
    expect(w != 0.7 || gap < 1e-12, "none at the optimum");
  }
}

}  // namespace

int main() {
  choosesTheBestLambdaOfBothFolds();
  endsWhereErrorsHaveRisen();
  coversSharesOfTheLastTwoSolutions();
  givenLambda();
  nothingToChooseBy();
  certifiesAndTightens();
  gapsAreThoseOfTheDefinition();
  return finish();
}
