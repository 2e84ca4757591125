// Kernels of the datamodel fit against naive loops at odd sizes, then the solver against naive coordinate descent and its own promises.
#include <algorithm>
#include <string>

#include "check.h"
#include "lethe/lasso.h"
#include "lethe/lasso_kernels.h"
#include "lethe/random.h"
#include "reference/lasso_reference.h"

using namespace lethe;
using namespace lethe::test;

namespace {

struct Problem {
  int64_t models, examples, targets;
  std::vector<uint8_t> mask, bits;  // (models, examples) dense and packed
  std::vector<float> values;        // (models, targets)

  Problem(int64_t m, int64_t n, int64_t t, uint64_t seed) : models(m), examples(n), targets(t), mask(m * n), bits(m * ((n + 7) / 8)), values(m * t) {
    Random random(seed, Purpose::synthetic, 0);
    for (int64_t k = 0; k < m * n; ++k) mask[k] = random.next() & 1;
    for (int64_t k = 0; k < t; ++k) {
      std::vector<double> truth(n);
      for (double& weight : truth) weight = random.below(4) == 0 ? random.normal() : 0;
      for (int64_t i = 0; i < m; ++i) {
        double sum = 3 + random.normal();
        for (int64_t j = 0; j < n; ++j) sum += truth[j] * mask[i * n + j];
        values[i * t + k] = static_cast<float>(sum);
      }
    }
    pack();
  }
  void pack() {
    std::fill(bits.begin(), bits.end(), uint8_t{0});
    const int64_t rowBytes = (examples + 7) / 8;
    for (int64_t i = 0; i < models; ++i) {
      for (int64_t j = 0; j < examples; ++j) bits[i * rowBytes + j / 8] |= static_cast<uint8_t>(mask[i * examples + j] << (j % 8));
    }
  }
  MaskView maskView() const { return {bits.data(), models, examples}; }
  TargetView targetView() const { return {values.data(), targets, targets}; }
  reference::LassoProblem column(int64_t t) const {
    reference::LassoProblem problem{models, examples, mask, {}};
    for (int64_t i = 0; i < models; ++i) problem.target.push_back(static_cast<double>(values[i * targets + t]));
    return problem;
  }
};

std::vector<TargetFit> fit(const Problem& problem, const FitOptions& options) {
  std::vector<TargetFit> fits;
  const Status status = fitDatamodels(problem.maskView(), problem.targetView(), options, TaskControl{}, fits);
  expect(status.ok(), "fit succeeds: " + status.message);
  return fits;
}

std::vector<double> dense(const TargetFit& fit, int64_t n) {
  std::vector<double> weight(n, 0.0);
  for (size_t k = 0; k < fit.indices.size(); ++k) weight[fit.indices[k]] = static_cast<double>(fit.weights[k]);
  return weight;
}

bool same(const TargetFit& a, const TargetFit& b) {
  return a.status == b.status && std::memcmp(&a.bias, &b.bias, sizeof a.bias) == 0 && std::memcmp(&a.gap, &b.gap, sizeof a.gap) == 0 &&
         std::memcmp(&a.lambda, &b.lambda, sizeof a.lambda) == 0 && a.indices == b.indices && a.weights == b.weights;
}

void testKernels(Isa isa, int64_t rows, int64_t n) {
  const LassoKernels& kernels = lassoKernels(isa);
  const std::string at = std::string(" ") + isaName(isa) + " " + std::to_string(rows) + "x" + std::to_string(n);
  const int64_t padded = (rows + 63) / 64 * 64;
  Random random(7, Purpose::synthetic, static_cast<uint64_t>(rows * 1000 + n));
  std::vector<uint64_t> words(n * padded / 64, 0);
  const BitColumns x{reinterpret_cast<const uint8_t*>(words.data()), padded, n};
  const auto bit = [&](int64_t i, int64_t j) { return static_cast<int>(words[j * padded / 64 + i / 64] >> (i % 64) & 1); };
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < rows; ++i) words[j * padded / 64 + i / 64] |= static_cast<uint64_t>(random.next() & 1) << (i % 64);
  }

  Guarded<int32_t> values(padded * kPassLanes), sums(n * kPassLanes), tables(kTableInts);
  for (int64_t k = 0; k < values.size(); ++k) values[k] = static_cast<int32_t>(random.next()) / static_cast<int32_t>(2 * padded);
  kernels.maskedSums(x, values.data(), sums.data(), tables.data());
  bool equal = true;
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t l = 0; l < kPassLanes; ++l) {
      int64_t sum = 0;
      for (int64_t i = 0; i < rows; ++i) sum += bit(i, j) * values[i * kPassLanes + l];
      equal = equal && sum == sums[j * kPassLanes + l];
    }
  }
  expect(equal && values.guardsIntact() && sums.guardsIntact() && tables.guardsIntact(), "maskedSums" + at);

  Guarded<double> target(padded), residual(padded);
  std::vector<int32_t> list;
  std::vector<double> weights;
  for (int64_t i = 0; i < padded; ++i) target[i] = random.normal();
  for (int64_t k = 0; k < std::min<int64_t>(n, 37); ++k) {
    list.push_back(static_cast<int32_t>(random.below(static_cast<uint32_t>(n))));
    weights.push_back(random.normal());
  }
  const int64_t count = static_cast<int64_t>(list.size()), from = padded > 64 ? 64 : 0;
  residual.fill(-1);
  kernels.residual(x, from, padded, target.data(), count, list.data(), weights.data(), residual.data());
  equal = true;
  for (int64_t i = 0; i < padded; ++i) {
    double expected = target[i];
    for (int64_t k = 0; k < count; ++k) expected -= bit(i, list[k]) * weights[k];
    equal = equal && residual[i] == (i < from ? -1 : expected);
  }
  expect(equal && residual.guardsIntact() && target.guardsIntact(), "residual" + at);

  Guarded<int32_t> counts(count);
  kernels.pairCounts(x, from, padded, list[0], list.data(), count, counts.data());
  equal = true;
  for (int64_t k = 0; k < count; ++k) {
    int32_t both = 0;
    for (int64_t i = from; i < padded; ++i) both += bit(i, list[0]) & bit(i, list[k]);
    equal = equal && both == counts[k];
  }
  expect(equal && counts.guardsIntact(), "pairCounts" + at);
}

template <typename Real, typename Descend>
void testDescend(const std::string& name, Descend descend, int64_t size, double tolerance) {
  const int64_t padded = (size + 15) / 16 * 16, stride = padded + 16;
  Random random(8, Purpose::synthetic, static_cast<uint64_t>(size));
  Guarded<float> gram(padded * stride), inverse(padded);
  Guarded<Real> gradient(padded);
  Guarded<double> weight(padded);
  gram.fill(0);
  for (int64_t p = 0; p < padded; ++p) {
    for (int64_t q = 0; q <= p; ++q) gram[p * stride + q] = gram[q * stride + p] = static_cast<float>(p == q ? 1 : 0.05 * random.normal());
    inverse[p] = 1;
    gradient[p] = static_cast<Real>(random.normal());
    weight[p] = random.below(2) ? random.normal() : 0.0;
  }
  std::vector<double> g(gradient.data(), gradient.data() + padded), w(weight.data(), weight.data() + padded);
  std::vector<int32_t> positions;
  for (int64_t p = 0; p < size; p += 1 + p % 2) positions.push_back(static_cast<int32_t>(p));
  const Real moved = descend(static_cast<int64_t>(positions.size()), positions.data(), padded, gram.data(), stride, inverse.data(),
                             static_cast<Real>(0.3), gradient.data(), weight.data());
  double largest = 0;
  for (int32_t p : positions) {
    const double pull = g[p] + w[p], after = std::copysign(std::max(std::fabs(pull) - 0.3, 0.0), pull), change = after - w[p];
    for (int64_t q = 0; q < padded; ++q) g[q] -= change * static_cast<double>(gram[p * stride + q]);
    w[p] = after;
    largest = std::max(largest, std::fabs(change));
  }
  double error = std::fabs(largest - static_cast<double>(moved));
  for (int64_t p = 0; p < padded; ++p) {
    error = std::max({error, std::fabs(g[p] - static_cast<double>(gradient[p])), std::fabs(w[p] - weight[p])});
  }
  expect(error < tolerance && gram.guardsIntact() && gradient.guardsIntact() && weight.guardsIntact(),
         name + " " + std::to_string(size) + ", error " + std::to_string(error));
}

// Objective equal to the naive optimum, gap as reported, for every instruction set.
void testAgainstReference(Isa isa) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    // from many models for few examples to the other way round
    const int64_t step = static_cast<int64_t>(seed);
    const Problem problem(step % 2 ? 20 + 17 * step : 4 + 3 * step, 5 + 11 * step, 3, seed);
    for (double share : {0.5, 0.1, 0.02}) {
      for (int64_t t = 0; t < problem.targets; ++t) {
        const reference::LassoProblem column = problem.column(t);
        FitOptions options;
        options.isa = isaName(isa);
        options.threads = 1;
        options.gapTolerance = 1e-7;
        options.lambda = share * reference::lambdaMax(column);
        const TargetFit result = fit(problem, options)[t];
        const reference::LassoSolution mine{static_cast<double>(result.bias), dense(result, problem.examples)};
        const reference::LassoSolution truth = reference::lassoSolve(column, options.lambda);
        const double objective = reference::lassoObjective(column, options.lambda, mine);
        const double optimum = reference::lassoObjective(column, options.lambda, truth);
        const double gap = reference::lassoRelativeGap(column, options.lambda, mine.weight);
        const std::string at = std::string(" ") + isaName(isa) + " seed " + std::to_string(seed) + " share " + std::to_string(share);
        expect(result.status == FitStatus::converged && result.gap <= 1e-7, "gap 1e-7 is reached" + at);
        expect(gap <= result.gap + 2e-6, "the reported gap is the gap of the reported weights up to their rounding" + at);
        expect(std::fabs(objective - optimum) <= 1e-6 * optimum, "objective of the naive solver" + at);
      }
    }
  }
}

void testEnds() {
  const Problem problem(300, 120, 4, 99);
  int single = 0;
  for (int64_t t = 0; t < problem.targets; ++t) {
    const double largest = reference::lambdaMax(problem.column(t));
    FitOptions options;
    options.lambda = largest;
    expect(fit(problem, options)[t].indices.empty(), "all weights are zero at lambda_max");
    options.lambda = 0.99 * largest;
    const TargetFit one = fit(problem, options)[t];
    const reference::LassoSolution truth = reference::lassoSolve(problem.column(t), options.lambda);
    const auto nonZero = std::count_if(truth.weight.begin(), truth.weight.end(), [](double w) { return w != 0; });
    expect(static_cast<int64_t>(one.indices.size()) == nonZero, "as many weights as the naive solver at 0.99 lambda_max");
    single += nonZero == 1;
  }
  expect(single > 0, "exactly one weight is non-zero at 0.99 lambda_max");
}

FitOptions selecting(int64_t models) {
  FitOptions options;
  for (int64_t i = 3; i < models; i += 10) options.holdout.push_back(static_cast<int32_t>(i));
  return options;
}

// Flags for odd targets and columns; neighbours, threads and the table of Gram counts change no bit.
void testIndependence() {
  Problem problem(150, 90, 200, 5);
  for (int64_t i = 0; i < problem.models; ++i) {
    problem.mask[i * 90 + 4] = 0;                               // constant columns
    problem.mask[i * 90 + 5] = 1;
    problem.mask[i * 90 + 7] = problem.mask[i * 90 + 6];        // duplicates
  }
  problem.pack();
  for (Estimator estimator : {Estimator::lasso, Estimator::marginal}) {
    FitOptions options = selecting(problem.models);
    options.estimator = estimator;
    options.threads = 1;
    const std::vector<TargetFit> clean = fit(problem, options);
    options.threads = 2;
    Problem odd = problem;
    odd.values[7 * 200 + 20] = NAN;
    odd.values[9 * 200 + 21] = INFINITY;
    for (int64_t i = 0; i < odd.models; ++i) odd.values[i * 200 + 22] = 2.5f;
    const std::vector<TargetFit> dirty = fit(odd, options);
    bool equal = true, allConverged = true, noConstant = true;
    for (int64_t t = 0; t < 200; ++t) {
      if (t < 20 || t > 22) equal = equal && same(clean[t], dirty[t]);
      allConverged = allConverged && clean[t].status == FitStatus::converged && clean[t].gap <= 1e-4;
      for (int32_t index : clean[t].indices) noConstant = noConstant && index != 4 && index != 5;
    }
    expect(equal, "neighbours of flagged targets and two threads: the same bits");
    expect(allConverged && noConstant, "every target converged, constant columns have no weight");
    expect(dirty[20].status == FitStatus::nonfinite && std::isnan(dirty[20].bias) && dirty[20].indices.empty(), "NaN target is flagged");
    expect(dirty[21].status == FitStatus::nonfinite, "infinite target is flagged");
    expect(dirty[22].status == FitStatus::constant && dirty[22].bias == 2.5f && dirty[22].gap == 0, "constant target is flagged");

    std::vector<TargetFit> few;  // fewer targets than the table of Gram counts is made for
    expect(fitDatamodels(problem.maskView(), {problem.values.data() + 30, 5, 200}, options, TaskControl{}, few).ok(), "few targets");
    for (int64_t t = 0; t < 5; ++t) expect(same(few[t], clean[30 + t]), "counted pairs equal the table");
  }
}

// The chosen lambda on all models is the solution of that problem; without refit it is the one of the models that were not held out.
void testSelection() {
  const Problem problem(260, 70, 4, 21);
  FitOptions options = selecting(problem.models);
  for (bool refit : {true, false}) {
    options.refit = refit;
    const std::vector<TargetFit> fits = fit(problem, options);
    for (int64_t t = 0; t < problem.targets; ++t) {
      reference::LassoProblem column = problem.column(t);
      if (!refit) {
        reference::LassoProblem kept{0, problem.examples, {}, {}};
        for (int64_t i = 0; i < problem.models; ++i) {
          if (i % 10 == 3) continue;
          ++kept.models;
          kept.target.push_back(column.target[i]);
          kept.mask.insert(kept.mask.end(), problem.mask.begin() + i * 70, problem.mask.begin() + (i + 1) * 70);
        }
        column = kept;
      }
      const double gap = reference::lassoRelativeGap(column, fits[t].lambda, dense(fits[t], problem.examples));
      expect(gap <= 1e-4 && std::fabs(gap - fits[t].gap) < 1e-6 && !fits[t].indices.empty(), "the chosen lambda is solved on its models");
    }
  }
}

void testTinyAndAbort() {
  Problem one(1, 3, 2, 1);
  FitOptions options;
  options.lambda = 0.1;
  const std::vector<TargetFit> fits = fit(one, options);
  expect(fits[0].status == FitStatus::constant && fits[0].bias == one.values[0], "one model: constant");
  const Problem two(2, 3, 1, 2);
  FitOptions split;
  split.holdout = {1};
  expect(fit(two, split)[0].status == FitStatus::converged, "two models, one held out");
  options.lambda = 0;
  std::vector<TargetFit> none;
  expect(fitDatamodels(one.maskView(), one.targetView(), options, TaskControl{}, none).code == "LETHE_ARGUMENT_INVALID", "lambda 0 is refused");

  const Problem big(200, 100, 300, 3);
  std::atomic<int32_t> flag{1};
  TaskControl control;
  control.abortFlag = &flag;
  expect(fitDatamodels(big.maskView(), big.targetView(), selecting(200), control, none).code == "LETHE_TASK_ABORTED", "abort");
}

}  // namespace

int main() {
  for (Isa isa : availableIsas()) {
    for (int64_t rows : {1, 31, 64, 257, 700}) {
      for (int64_t n : {1, 31, 257, 1100}) testKernels(isa, rows, n);
    }
    for (int64_t size : {1, 16, 31, 257}) {
      testDescend<float>(std::string("descend ") + isaName(isa), lassoKernels(isa).descend, size, 2e-5);
      testDescend<double>(std::string("descendPrecise ") + isaName(isa), lassoKernels(isa).descendPrecise, size, 1e-12);
    }
    testAgainstReference(isa);
  }
  for (Isa isa : {Isa::avx2, Isa::avx512}) {
    const std::vector<Isa> available = availableIsas();
    if (std::find(available.begin(), available.end(), isa) == available.end()) skip(std::string(isaName(isa)) + " is not available here");
  }
  testEnds();
  testIndependence();
  testSelection();
  testTinyAndAbort();
  return finish();
}
