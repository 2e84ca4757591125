// The datamodel fit at given lambdas against naive coordinate descent, at its ends, and its promise that targets are independent.
#include <numeric>

#include "lasso/lasso_fixture.h"
#include "lethe/base/isa.h"

using namespace lethe;
using namespace lethe::test;

namespace {

struct Truth {
  double lambda = 0, optimum = 0;
};

std::string nameOf(Isa isa, const char* gram, uint64_t seed, double share, int64_t t) {
  return std::string(isaName(isa))
      .append(" ")
      .append(gram)
      .append(" seed ")
      .append(std::to_string(seed))
      .append(" share ")
      .append(std::to_string(share))
      .append(" target ")
      .append(std::to_string(t));
}

// A target of the problem, solved to 1e-7: as good as the naive solution, with the gap that it reports.
void checkSolved(const Problem& problem, int64_t t, double lambda, double optimum, const TargetFit& result, const std::string& at) {
  const reference::LassoProblem column = problem.column(t);
  const reference::LassoSolution mine{static_cast<double>(result.bias), dense(result, problem.examples)};
  const double objective = reference::lassoObjective(column, lambda, mine);
  const double gap = reference::lassoRelativeGap(column, lambda, mine.weight);
  quietly(result.status == FitStatus::converged && result.gap <= 1e-7, "gap 1e-7 is reached, not " + std::to_string(result.gap * 1e7) + "e-7: " + at);
  quietly(std::fabs(gap - result.gap) <= 2e-6, "the reported gap is that of the weights up to their rounding, " + std::to_string(gap) + ": " + at);
  quietly(std::fabs(objective - optimum) <= 1e-6 * optimum, "objective of the naive solver: " + at);
  quietly(result.lambda == 0 || std::fabs(result.lambda / lambda - 1) < 1e-12, "the lambda that was asked for: " + at);
}

void testAgainstReference(const Problem& problem, uint64_t seed, const char* table, std::vector<double> shares) {
  for (double share : shares) {
    for (int64_t t = 0; t < problem.targets; ++t) {
      const reference::LassoProblem column = problem.column(t);
      FitOptions options = single(share * reference::lambdaMax(column), 1e-7);
      const double optimum = reference::lassoObjective(column, options.lambda, reference::lassoSolve(column, options.lambda));
      for (Isa isa : availableIsas()) {
        options.isa = isaName(isa);
        TargetFit results[3];
        for (int source = 0; source < 3; ++source) {  // tables, no memory for them, too few targets for them
          options.gramBytes = source == 1 ? 0 : int64_t{1} << 30;
          const auto design = open(problem, options, source == 2 ? 1 : kManyTargets);
          const DesignInfo info = describeDesign(*design);
          const char* wanted = source == 0 ? table : "counted";
          quietly(info.gram == wanted && info.isa == options.isa && info.numModels == problem.models,
                  std::string("expected ").append(wanted).append(", not ").append(info.gram));
          results[source] = fit(*design, problem.targetsFrom(t, 1), options)[0];
          checkSolved(problem, t, options.lambda, optimum, results[source], nameOf(isa, wanted, seed, share, t));
        }
        // entries are exact whole numbers in all sources; with "depends on its column and the options only" that makes equal bits
        quietly(same(results[0], results[2]), "the number of targets of the design changes no bit: " + nameOf(isa, table, seed, share, t));
        quietly(same(results[1], results[2]), "counted is counted: " + nameOf(isa, table, seed, share, t));
      }
    }
  }
}

void testEnds() {
  int single99 = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    const Problem problem(30 + 40 * static_cast<int64_t>(seed), 120, 3, 90 + seed);
    for (int64_t t = 0; t < problem.targets; ++t) {
      const double largest = reference::lambdaMax(problem.column(t));
      for (double above : {1.0, 1.0000001, 2.0, 1e6}) {
        const TargetFit none = fit(problem, single(above * largest))[t];
        const double mean = Naive(problem, t, {}).bias(std::vector<double>(120, 0.0));
        expect(none.indices.empty() && none.status == FitStatus::converged && none.gap <= 1e-9, "all weights are zero at lambda_max and above");
        expect(std::fabs(static_cast<double>(none.bias) - mean) < 1e-6 * std::fabs(mean) + 1e-7, "the bias is then the mean");
      }
      const TargetFit one = fit(problem, single(0.99 * largest, 1e-7))[t];
      std::vector<double> truth(120, 0.0);
      Naive(problem, t, {}).solve(0.99 * largest, truth);
      const auto nonZero = std::count_if(truth.begin(), truth.end(), [](double w) { return w != 0; });
      expect(static_cast<int64_t>(one.indices.size()) == nonZero && nonZero > 0, "as many weights as the naive solver at 0.99 lambda_max");
      single99 += nonZero == 1;
    }
  }
  expect(single99 > 0, "exactly one weight is non-zero at 0.99 lambda_max");
}

void testTiny() {
  const Problem one(1, 3, 2, 1);
  const std::vector<TargetFit> fits = fit(one, single(0.1));
  expect(fits[0].status == FitStatus::constant && fits[0].bias == one.values[0] && fits[0].indices.empty(), "one model: constant");
  expect(fits[1].status == FitStatus::constant && fits[1].bias == one.values[1] && fits[1].gap == 0, "one model: constant, other target");
  const Problem narrow(50, 1, 1, 1);
  const double largest = reference::lambdaMax(narrow.column(0));
  const reference::LassoSolution truth = reference::lassoSolve(narrow.column(0), 0.3 * largest);
  const TargetFit mine = fit(narrow, single(0.3 * largest, 1e-7))[0];
  expect(mine.indices.size() == 1 && std::fabs(static_cast<double>(mine.weights[0]) - truth.weight[0]) < 1e-5, "one example");
  std::vector<TargetFit> none(3);
  const auto design = open(narrow, single(1), 1);
  expect(fitDatamodels(*design, narrow.targetsFrom(0, 0), single(1), TaskControl{}, none).ok() && none.empty(), "no targets: no fits");
  for (Estimator estimator : {Estimator::lasso, Estimator::marginal}) {
    for (bool refit : {true, false}) {
      FitOptions options = single(0);
      options.estimator = estimator;
      options.fold = {-1, 0};
      options.refit = refit;
      const Problem two(2, 3, 1, 2);
      const TargetFit result = fit(two, options)[0];
      expect(result.status == FitStatus::converged && result.indices.empty() && std::isfinite(result.bias) && result.gap <= 1e-4,
             "two models, one held out: nothing to choose lambda by, all zero");
    }
  }
}

// More examples than models, down to interpolation. Coordinate descent may run out of sweeps far below the smallest lambda of a path:
// then the target says so, and its gap is still true.
void testSaturated() {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const Problem problem(16 + 6 * static_cast<int64_t>(seed), 90, 2, 40 + seed, 128, 0.1);
    for (double share : {1e-2, 1e-3, 1e-4}) {
      for (int64_t t = 0; t < problem.targets; ++t) {
        const Naive naive(problem, t, {});
        const double lambda = share * naive.lambdaMax();
        for (double tolerance : {1e-4, 1e-5, 1e-7}) {
          const TargetFit result = fit(problem, single(lambda, tolerance))[t];
          const double gap = naive.relativeGap(lambda, dense(result, 90));
          const std::string at = std::string("saturated, seed ")
                                     .append(std::to_string(seed))
                                     .append(" share ")
                                     .append(std::to_string(share))
                                     .append(" tolerance ")
                                     .append(std::to_string(tolerance))
                                     .append(", gap ")
                                     .append(std::to_string(result.gap));
          quietly((result.status == FitStatus::converged) == (result.gap <= tolerance), "the status tells what the gap tells: " + at);
          quietly(std::fabs(gap - result.gap) <= 2e-6, "the gap is true: " + at);
          quietly(result.gap <= (share < 1e-3 ? std::max(tolerance, 1e-5) : tolerance), "the gap is small: " + at);
        }
      }
    }
  }
}

// Odd targets are results with a flag; odd columns have no weight, or share it.
void testOddTargetsAndColumns() {
  Problem problem(150, 90, 100, 5);
  problem.fillColumn(4, 0);
  problem.fillColumn(5, 1);
  problem.copyColumn(6, 7);
  for (int64_t i = 0; i < 150; ++i) problem.values[i * 100 + 60] = problem.values[i * 100 + 61];
  for (Estimator estimator : {Estimator::lasso, Estimator::marginal}) {
    for (bool select : {true, false}) {
      FitOptions options = select ? selecting(150, 1, 10) : single(0.15, 1e-5);
      options.estimator = estimator;
      const std::vector<TargetFit> clean = fit(problem, options);
      Problem odd = problem;
      odd.values[7 * 100 + 20] = NAN;
      odd.values[9 * 100 + 21] = INFINITY;
      odd.values[0 * 100 + 23] = -INFINITY;
      for (int64_t i = 0; i < 150; ++i) odd.values[i * 100 + 22] = 2.5f;
      options.threads = 2;
      const std::vector<TargetFit> dirty = fit(odd, options);
      bool equal = true, solved = true, none = true;
      for (int64_t t = 0; t < 100; ++t) {
        if (t < 20 || t > 23) equal = equal && same(clean[t], dirty[t]);
        solved = solved && clean[t].status == FitStatus::converged && clean[t].gap <= options.gapTolerance;
        for (int32_t index : clean[t].indices) none = none && index != 4 && index != 5;
      }
      expect(equal, "neighbours of flagged targets, two threads: the same bits");
      expect(solved && none, "every target is solved, constant columns have no weight");
      expect(same(clean[60], clean[61]), "identical targets have identical fits");
      for (int64_t t : {20, 21, 23}) {
        expect(dirty[t].status == FitStatus::nonfinite && std::isnan(dirty[t].bias) && dirty[t].indices.empty(), "non-finite target is flagged");
      }
      expect(dirty[22].status == FitStatus::constant && dirty[22].bias == 2.5f && dirty[22].gap == 0 && dirty[22].indices.empty(),
             "constant target is flagged");
    }
  }
}

// Together, one by one, in blocks, backwards, with one or two threads, with or without tables, under want of memory: the same bits.
void testIndependence() {
  Problem narrow(180, 70, 90, 15), wide(800, 40, 70, 16);
  wide.copyColumn(2, 3);  // its Gram entry needs 16 bits
  for (const Problem* problem : {&narrow, &wide}) {
    for (int kind = 0; kind < 4; ++kind) {
      FitOptions options = kind == 0 ? single(0.1) : kind == 1 ? single(0.05, 1e-7) : selecting(problem->models, kind == 2 ? 1 : 3, 4);
      const auto design = open(*problem, options, kManyTargets);
      expect(describeDesign(*design).gram == (problem == &narrow ? "table8" : "table16"), "the table that was meant");
      const std::vector<TargetFit> together = fit(*design, problem->targetView(), options);
      options.threads = 2;
      bool threads = true, alone = true, blocks = true, backwards = true, counted = true;
      const std::vector<TargetFit> twice = fit(*design, problem->targetView(), options);
      for (int64_t t = 0; t < problem->targets; ++t) threads = threads && same(twice[t], together[t]);
      options.setBytes = 1;
      const std::vector<TargetFit> narrowly = fit(*design, problem->targetView(), options);
      options.setBytes = 0;
      bool memory = true;
      for (int64_t t = 0; t < problem->targets; ++t) memory = memory && same(narrowly[t], together[t]);
      expect(memory, "with memory for one working set at a time");
      for (int64_t t = 0; t < problem->targets; ++t) alone = alone && same(fit(*design, problem->targetsFrom(t, 1), options)[0], together[t]);
      for (int64_t from = 0; from < problem->targets; from += 23) {
        const std::vector<TargetFit> block = fit(*design, problem->targetsFrom(from, std::min<int64_t>(23, problem->targets - from)), options);
        for (size_t k = 0; k < block.size(); ++k) blocks = blocks && same(block[k], together[from + static_cast<int64_t>(k)]);
      }
      Problem reversed = *problem;
      for (int64_t i = 0; i < reversed.models; ++i) {
        std::reverse(reversed.values.begin() + i * reversed.targets, reversed.values.begin() + (i + 1) * reversed.targets);
      }
      const std::vector<TargetFit> other = fit(*design, reversed.targetView(), options);
      for (int64_t t = 0; t < problem->targets; ++t) backwards = backwards && same(other[problem->targets - 1 - t], together[t]);
      const std::vector<TargetFit> bits = fit(*problem, options, 1);
      for (int64_t t = 0; t < problem->targets; ++t) counted = counted && same(bits[t], together[t]);
      expect(threads, "one or two threads");
      expect(alone, "all together or one by one");
      expect(blocks, "in blocks of 23");
      expect(backwards, "in reverse order");
      expect(counted, problem == &narrow ? "8-bit tables or counted" : "16-bit tables or counted");
    }
  }
}

// Gram entries of odd designs outgrow 16 bits: two columns that nearly every one of many models saw, among columns that hardly any saw.
// Such targets cannot be solved; what counts is that they say so.
void testLargeEntries() {
  for (int64_t models : {30000, 60000}) {
    Problem problem(models, 24, 1, 77, 6);
    Random random(78, Purpose::synthetic, 0);
    for (int64_t i = 0; i < models; ++i) {
      for (int64_t j : {3, 4}) problem.mask[i * 24 + j] = random.below(1000) != 0;
      problem.values[i] += static_cast<float>(40 * problem.mask[i * 24 + 3] + 30 * problem.mask[i * 24 + 4]);
    }
    problem.pack();
    const Naive naive(problem, 0, {});
    const double lambda = 0.02 * naive.lambdaMax();
    const TargetFit result = fit(problem, single(lambda, 1e-6))[0];
    const double gap = naive.relativeGap(lambda, dense(result, 24));
    expect(std::fabs(gap - result.gap) < 3e-6 && (result.status == FitStatus::converged) == (result.gap <= 1e-6),
           "the gap is true where Gram entries are large, " + std::to_string(gap));
    if (models == 30000) expect(result.status == FitStatus::converged, "large entries that fit in 16 bits are right");
  }
}

}  // namespace

int main() {
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    // from many models for few examples to the other way round
    const int64_t step = static_cast<int64_t>(seed);
    const Problem problem(step % 2 ? 20 + 9 * step : 4 + 2 * step, 5 + 4 * step, 2, seed, step % 3 ? 128 : 60);
    testAgainstReference(problem, seed, "table8", {0.5, 0.1, 0.02});
  }
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    Problem problem(600 + 7 * static_cast<int64_t>(seed), 10 + 17 * static_cast<int64_t>(seed), 2, 60 + seed);
    problem.copyColumn(1, 8);
    problem.fillColumn(2, 1);
    testAgainstReference(problem, seed, "table16", {0.3, 0.01});
  }
  testEnds();
  testTiny();
  testSaturated();
  testOddTargetsAndColumns();
  testIndependence();
  testLargeEntries();
  return finish();
}
