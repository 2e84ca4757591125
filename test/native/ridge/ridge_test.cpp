// The linear study on every instruction set against the naive reference in R^d, which knows neither the rotation nor the lanes.
#include "base/check.h"

#include <algorithm>
#include <limits>
#include <random>

#include "lethe/base/random.h"
#include "lethe/ridge/study.h"
#include "reference/ridge/reference.h"

using namespace lethe;
using namespace lethe::test;

namespace {

struct Case {
  const char* name;
  int64_t numTrain, numForget, dim, batchSize;
};
const Case kCases[] = {{"one point each", 2, 1, 3, 1}, {"odd sizes", 31, 7, 13, 4},      {"batch of the tile", 40, 5, 41, 5},
                       {"long batch", 23, 3, 17, 13},  {"the smallest set", 9, 4, 1, 2}, {"batch of all retain points", 12, 4, 9, 8}};
const RidgeMethod kMethods[] = {RidgeMethod::descent, RidgeMethod::ascent, RidgeMethod::matching, RidgeMethod::matchingRetain};
const std::vector<int64_t> kLogged = {0, 1, 2, 7, 20};
const double kAscentWeight = 0.3;

struct Problem {
  Guarded<double> x, y, full, star;
  RidgeProblem view;
  reference::RidgeProblem naive;

  explicit Problem(const Case& c) : x(c.numTrain * c.dim), y(c.numTrain), full(c.dim), star(c.dim) {
    std::mt19937 random(3);
    std::normal_distribution<double> normal;
    for (Guarded<double>* array : {&x, &y, &full, &star}) {
      for (int64_t i = 0; i < array->size(); ++i) (*array)[i] = normal(random);
    }
    view = {x.data(), y.data(), full.data(), star.data(), c.numTrain, c.numForget, c.dim, c.dim / 2, 0.7};
    for (int64_t i = 0; i < c.numTrain; ++i) naive.x.emplace_back(x.data() + i * c.dim, x.data() + (i + 1) * c.dim);
    naive.y.assign(y.data(), y.data() + c.numTrain);
    naive.thetaStar.assign(star.data(), star.data() + c.dim);
    naive.numForget = static_cast<size_t>(c.numForget);
    naive.lambda = 0.7;
  }
  bool guardsIntact() const { return x.guardsIntact() && y.guardsIntact() && full.guardsIntact() && star.guardsIntact(); }
};

struct Results {
  Guarded<double> inSpan, orthogonal, iterates;
  Guarded<uint8_t> endings;
  Results(size_t steps, size_t logs, int64_t dim)
      : inSpan(static_cast<int64_t>(steps * logs)), orthogonal(inSpan.size()), iterates(inSpan.size() * dim), endings(static_cast<int64_t>(steps)) {}
  RidgeOutcome view() { return {inSpan.data(), orthogonal.data(), endings.data(), iterates.data()}; }
  bool guardsIntact() const { return inSpan.guardsIntact() && orthogonal.guardsIntact() && iterates.guardsIntact() && endings.guardsIntact(); }
};

RidgeOptions options(Isa isa, int threads) {
  RidgeOptions chosen;
  // eleven sizes, so that the second block has lanes to spare, and not sorted; the largest may diverge
  for (int k : {4, 9, 1, 2, 8, 3, 5, 7, 6, 10, 11}) chosen.steps.push_back(0.1 / (1 << k));
  chosen.loggedAt = kLogged;
  chosen.seed = 99;
  chosen.divergedAbove = std::numeric_limits<double>::max();
  chosen.convergedBelow = 0;
  chosen.isa = isa;
  chosen.threads = threads;
  return chosen;
}

// theta of every logged iteration, from explicit steps.
std::vector<reference::Vector> naiveIterates(const Problem& problem, const RidgeRun& run, double step, uint64_t seed) {
  const bool all = run.method == RidgeMethod::ascent || run.method == RidgeMethod::matching;
  const int64_t from = all ? problem.view.numTrain : problem.view.numRetain();
  Random random(seed, Purpose::minibatch, run.repetition, all ? 0 : 1);
  reference::Vector theta(problem.view.thetaFull, problem.view.thetaFull + problem.view.dim);
  std::vector<reference::Vector> logged;
  std::vector<int64_t> batch(static_cast<size_t>(run.batchSize));
  for (int64_t t = 0; t <= kLogged.back(); ++t) {
    if (std::find(kLogged.begin(), kLogged.end(), t) != kLogged.end()) logged.push_back(theta);
    if (run.batchSize > 0) drawBatch(random, from, run.batchSize, batch.data());
    theta = reference::ridgeStep(problem.naive, static_cast<reference::Method>(run.method), run.ascentWeight, step, {batch.begin(), batch.end()}, theta);
  }
  return logged;
}

double squaredDistance(const double* a, const double* b, int64_t from, int64_t to) {
  double sum = 0;
  for (int64_t j = from; j < to; ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

bool near(double value, double expected, double scale) { return std::fabs(value - expected) <= 1e-11 * (std::fabs(expected) + scale); }

void againstReference(const Case& c, Isa isa) {
  Problem problem(c);
  const RidgeOptions chosen = options(isa, 2);
  std::vector<RidgeRun> runs;
  for (RidgeMethod method : kMethods) {
    for (int64_t batch : {int64_t{0}, c.batchSize}) {
      const bool all = method == RidgeMethod::ascent || method == RidgeMethod::matching;
      runs.push_back({0, method, kAscentWeight, std::min(batch, all ? c.numTrain : c.numTrain - c.numForget), 5});
    }
  }
  std::vector<Results> results;
  std::vector<RidgeOutcome> outcomes;
  for (size_t r = 0; r < runs.size(); ++r) results.emplace_back(chosen.steps.size(), kLogged.size(), c.dim);
  for (Results& result : results) outcomes.push_back(result.view());
  const Status status = ridgeStudy({problem.view}, runs, chosen, outcomes, {});
  expect(status.ok(), std::string(c.name) + ": " + status.message);
  const double initial = squaredDistance(problem.view.thetaFull, problem.view.thetaStar, 0, c.dim);
  for (size_t r = 0; r < runs.size(); ++r) {
    int64_t wrong = 0;
    for (size_t s = 0; s < chosen.steps.size(); ++s) {
      const std::vector<reference::Vector> expected = naiveIterates(problem, runs[r], chosen.steps[s], chosen.seed);
      for (size_t l = 0; l < kLogged.size(); ++l) {
        const int64_t at = static_cast<int64_t>(s * kLogged.size() + l);
        double largest = 1;
        for (double value : expected[l]) largest = std::max(largest, std::fabs(value));
        for (int64_t j = 0; j < c.dim; ++j) wrong += !near(results[r].iterates[at * c.dim + j], expected[l][static_cast<size_t>(j)], largest);
        const double inside = squaredDistance(expected[l].data(), problem.view.thetaStar, 0, problem.view.spanSize) / initial;
        const double outside = squaredDistance(expected[l].data(), problem.view.thetaStar, problem.view.spanSize, c.dim) / initial;
        wrong += !near(results[r].inSpan[at], inside, largest * largest) + !near(results[r].orthogonal[at], outside, largest * largest);
      }
    }
    const std::string what = std::string(c.name) + " " + isaName(isa) + " method " + std::to_string(static_cast<int>(runs[r].method)) + " batch " +
                             std::to_string(runs[r].batchSize);
    expect(wrong == 0, what + ": " + std::to_string(wrong) + " values differ");
    expect(results[r].guardsIntact() && problem.guardsIntact(), what + ": guard words");
  }
}

// Ended step sizes fill their rows and leave the others' bytes alone, for any number of threads.
void endings(Isa isa) {
  const Case c{"", 40, 5, 41, 5};
  Problem problem(c);
  std::vector<Results> results;
  for (int threads : {1, 3}) {
    for (bool early : {false, true}) {
      RidgeOptions chosen = options(isa, threads);
      chosen.steps.push_back(1e3);
      if (early) chosen.divergedAbove = 1e3, chosen.convergedBelow = 0.8;
      Results& result = results.emplace_back(chosen.steps.size(), kLogged.size(), c.dim);
      expect(ridgeStudy({problem.view}, {{0, RidgeMethod::matching, 0, 5, 1}}, chosen, {result.view()}, {}).ok(), "endings run");
    }
  }
  const size_t logs = kLogged.size(), last = 11;
  int64_t different = 0, ran = 0, converged = 0, badRows = 0;
  for (size_t s = 0; s <= last; ++s) {
    Results& early = results[1];
    const auto ending = static_cast<RidgeEnding>(early.endings[static_cast<int64_t>(s)]);
    ran += ending == RidgeEnding::ran;
    converged += ending == RidgeEnding::converged;
    for (size_t l = 0; l < logs; ++l) {
      const int64_t at = static_cast<int64_t>(s * logs + l);
      different += results[0].inSpan[at] != results[2].inSpan[at] || early.orthogonal[at] != results[3].orthogonal[at];
      if (ending == RidgeEnding::ran) different += early.inSpan[at] != results[0].inSpan[at];
      const double total = early.inSpan[at] + early.orthogonal[at];
      if (ending == RidgeEnding::converged && l + 1 == logs) badRows += !(total < 0.8);
      if (ending == RidgeEnding::diverged && l + 1 == logs) badRows += !std::isinf(total);
    }
  }
  expect(different == 0 && badRows == 0, "early ends leave the other step sizes alone, and threads change nothing");
  expect(results[1].endings[static_cast<int64_t>(last)] == static_cast<uint8_t>(RidgeEnding::diverged) && ran > 0 && converged > 0, "all three endings occur");
}

void batches() {
  Random random(1, Purpose::minibatch, 0);
  std::vector<int64_t> counts(7, 0), batch(3);
  bool distinct = true;
  for (int draw = 0; draw < 7000; ++draw) {
    drawBatch(random, 7, 3, batch.data());
    distinct = distinct && batch[0] != batch[1] && batch[0] != batch[2] && batch[1] != batch[2];
    for (int64_t point : batch) ++counts[static_cast<size_t>(point)];
  }
  expect(distinct, "a batch has no point twice");
  for (int64_t count : counts) expect(std::llabs(count - 3000) < 200, "every point is drawn equally often: " + std::to_string(count));
}

void refusals() {
  Problem problem({"", 5, 2, 3, 1});
  Results result(11, kLogged.size(), 3);
  auto code = [&](RidgeProblem view, RidgeRun run, RidgeOptions chosen) { return ridgeStudy({view}, {run}, chosen, {result.view()}, {}).code; };
  const RidgeOptions good = options(Isa::portable, 1);
  const std::string invalid = "LETHE_LINEAR_INVALID";
  RidgeProblem view = problem.view;
  view.numForget = 5;
  expect(code(view, {}, good) == invalid, "no retain points");
  view = problem.view;
  view.lambda = -1;
  expect(code(view, {}, good) == invalid, "a negative lambda");
  expect(code(problem.view, {0, RidgeMethod::descent, 0, 4, 0}, good) == invalid, "a batch larger than the retain set");
  expect(code(problem.view, {1, RidgeMethod::descent, 0, 0, 0}, good) == invalid, "a problem that is not there");
  RidgeOptions bad = good;
  bad.loggedAt = {0, 2, 2};
  expect(code(problem.view, {}, bad) == invalid, "repeated iterations");
  bad = good;
  bad.steps[0] = 0;
  expect(code(problem.view, {}, bad) == invalid, "a step of zero");
  std::atomic<int32_t> flag{1};
  TaskControl control;
  control.abortFlag = &flag;
  expect(ridgeStudy({problem.view}, {RidgeRun{}}, good, {result.view()}, control).code == "LETHE_TASK_ABORTED", "abort is seen");
}

}  // namespace

int main() {
  for (Isa isa : availableIsas()) {
    for (const Case& c : kCases) againstReference(c, isa);
    endings(isa);
  }
  batches();
  refusals();
  return finish();
}
