// Whole fits on the GPU against the fit on the processor and a dense Lasso in double; independence of slots, memory, devices and the
// order of threads; what happens when memory runs out, a launch fails, the task is stopped.
#include <atomic>
#include <thread>

#include "cuda/base/compiler.h"
#include "cuda/lasso/memory.h"
#include "lasso/lasso_fixture.h"
#include "lethe/gpu_ops.h"

namespace lethe {
Status LETHE_PER_ISA(openFitOnGpu)(std::shared_ptr<const LassoDesign>, const FitOptions&, const GpuOptions&, int64_t, const TaskControl&,
                                   std::unique_ptr<GpuFit>&);
}

using namespace lethe;
using namespace lethe::test;

namespace {

// numTargets: what the design is opened for.
Status openOn(const Problem& problem, const FitOptions& options, const GpuOptions& gpu, int64_t numTargets, std::unique_ptr<GpuFit>& opened,
              const TaskControl& control = {}) {
  std::shared_ptr<const LassoDesign> design;
  const Status status = openDesign(problem.maskView(), options, 0, {}, design);
  return status.ok() ? LETHE_PER_ISA(openFitOnGpu)(design, options, gpu, numTargets, control, opened) : status;
}

Status fitOn(const Problem& problem, const TargetView& targets, const FitOptions& options, std::vector<TargetFit>& fits, const GpuOptions& gpu = {},
             const TaskControl& control = {}) {
  std::unique_ptr<GpuFit> opened;
  const Status status = openOn(problem, options, gpu, targets.numTargets, opened);
  return status.ok() ? opened->fit(targets, control, fits) : status;
}

std::vector<TargetFit> fitAll(const Problem& problem, const FitOptions& options, const GpuOptions& gpu = {}) {
  std::vector<TargetFit> fits;
  const Status status = fitOn(problem, problem.targetView(), options, fits, gpu);
  expect(status.ok(), "the fit on the GPU succeeds: " + status.message);
  fits.resize(static_cast<size_t>(problem.targets));
  return fits;
}

bool allSame(const std::vector<TargetFit>& a, const std::vector<TargetFit>& b) {
  bool equal = a.size() == b.size();
  for (size_t t = 0; equal && t < a.size(); ++t) equal = same(a[t], b[t]);
  return equal;
}

int otherLambdas = 0;  // where another lambda than the processor's was chosen

// Sum over the folds of the squared error on held-out models, at the exact solutions. weights: (models) how often each counts.
double heldOutError(const Problem& problem, const FitOptions& options, int64_t t, double lambda, const std::vector<uint8_t>& weights) {
  double sum = 0;
  for (int32_t fold = 0; fold <= *std::max_element(options.fold.begin(), options.fold.end()); ++fold) {
    std::vector<uint8_t> counts;
    for (size_t i = 0; i < weights.size(); ++i) counts.push_back(options.fold[i] != fold ? weights[i] : 0);
    const Naive naive(problem, t, counts, options.standardise);
    std::vector<double> weight(static_cast<size_t>(problem.examples), 0.0);
    for (double at = naive.lambdaMax(); at > lambda; at *= 0.8) naive.solve(at, weight, 1e-6);
    naive.solve(lambda, weight, 1e-8);
    for (int64_t i = 0; i < problem.models; ++i) {
      if (options.fold[static_cast<size_t>(i)] != fold) continue;
      const double error = static_cast<double>(problem.values[static_cast<size_t>(i * problem.targets + t)]) - naive.predict(i, weight);
      sum += weights[static_cast<size_t>(i)] * error * error;
    }
  }
  return sum;
}

// The path is solved to a gap of a hundredth: where held-out errors are as close as that, another lambda is as good.
bool asGood(const Problem& problem, const FitOptions& options, int64_t t, double lambda, double other, const std::vector<uint8_t>& weights) {
  return heldOutError(problem, options, t, lambda, weights) <= 1.01 * heldOutError(problem, options, t, other, weights);
}

// Every target: status, lambda and objective of the processor's fit, and the gap that a dense Lasso computes.
void compare(const Problem& problem, const FitOptions& options, const std::string& what) {
  FitOptions portable = options;
  portable.isa = "portable";
  const std::vector<TargetFit> ours = fitAll(problem, options), theirs = fit(problem, portable, problem.targets);
  std::vector<uint8_t> counts;
  if (!options.fold.empty() && !options.refit) {
    for (int32_t fold : options.fold) counts.push_back(fold < 0);
  }
  for (int64_t t = 0; t < problem.targets; ++t) {
    const TargetFit &a = ours[static_cast<size_t>(t)], &b = theirs[static_cast<size_t>(t)];
    const std::string which = what + ", target " + std::to_string(t);
    if (!expect(a.status == b.status && a.status == FitStatus::converged, which + " converges")) continue;
    const bool sameLambda = std::fabs(a.lambda - b.lambda) <= 1e-6 * b.lambda;
    if (!sameLambda) ++otherLambdas;
    expect(sameLambda || asGood(problem, options, t, a.lambda, b.lambda, std::vector<uint8_t>(static_cast<size_t>(problem.models), 1)),
           which + ": lambda " + std::to_string(a.lambda) + " is as good as the processor's " + std::to_string(b.lambda));
    const Naive naive(problem, t, counts, options.standardise);
    const std::vector<double> left = dense(a, problem.examples), right = dense(b, problem.examples);
    const double gap = naive.relativeGap(a.lambda, left);
    expect(a.gap <= options.gapTolerance && gap <= options.gapTolerance + 2e-6 && std::fabs(gap - a.gap) <= 2e-6,
           which + ": gap " + std::to_string(a.gap) + " and recomputed " + std::to_string(gap));
    const double objective = naive.objective(b.lambda, right);
    expect(!sameLambda || std::fabs(naive.objective(b.lambda, left) - objective) <= options.gapTolerance * naive.meanSquare(), which + ": the objective");
    expect(std::fabs(static_cast<double>(a.bias) - naive.bias(left)) <= 1e-4 * (1 + std::fabs(naive.bias(left))), which + ": the bias");
  }
}

void checkAgainstProcessor() {
  const Problem problem(131, 43, 3, 1);
  compare(problem, selecting(131, 1, 5), "held-out models");
  FitOptions noRefit = selecting(131, 1, 5);
  noRefit.refit = false;
  compare(problem, noRefit, "no refit");
  FitOptions standardised = selecting(131, 3, 5);
  standardised.standardise = true;
  const Problem uneven(131, 43, 2, 2, 50);
  compare(uneven, standardised, "three folds, standardised");
  FitOptions given = selecting(131, 1, 5);
  given.lambdas = {1.0, 0.5, 0.25, 0.1, 0.05, 0.025};
  compare(problem, given, "given lambdas");
  compare(problem, single(0.1), "one lambda");
  compare(problem, single(0.1, 1e-6), "one lambda, a small gap");
  compare(Problem(31, 257, 2, 3), selecting(31, 1, 5), "few models");
  expect(otherLambdas <= 4, std::to_string(otherLambdas) + " targets of 16 chose another lambda than the processor's fit");
}

// The closed form is the processor's own; the device's correlations are exact to 5e-10 of the largest residual.
void checkMarginal(const Problem& problem, FitOptions options, bool weighted, const std::string& what) {
  options.estimator = Estimator::marginal;
  TargetView targets = problem.targetView();
  std::vector<uint8_t> weights;
  for (int64_t k = 0; k < problem.models * problem.targets; ++k) weights.push_back(static_cast<uint8_t>(k * 7 % 5 % 3));
  if (weighted) targets.rowWeights = weights.data();
  std::vector<TargetFit> ours, again, theirs;
  expect(fitOn(problem, targets, options, ours).ok() && fitOn(problem, targets, options, again).ok(), what + " succeeds");
  std::shared_ptr<const LassoDesign> design;
  openDesign(problem.maskView(), options, problem.targets, {}, design);
  expect(design && fitDatamodels(*design, targets, options, {}, theirs).ok(), what + ": the processor's fit succeeds");
  expect(allSame(ours, again), what + ": the same again");
  int64_t nonzero = 0;
  for (size_t t = 0; t < theirs.size() && ours.size() == theirs.size(); ++t) {
    const std::vector<double> left = dense(ours[t], problem.examples), right = dense(theirs[t], problem.examples);
    double worst = 0, scale = 1e-9;
    for (size_t j = 0; j < left.size(); ++j) {
      worst = std::max(worst, std::fabs(left[j] - right[j]));
      scale = std::max(scale, std::fabs(right[j]));
    }
    expect(ours[t].status == theirs[t].status && std::fabs(ours[t].lambda - theirs[t].lambda) <= 1e-6 * theirs[t].lambda && worst <= 1e-6 * scale,
           what + ", target " + std::to_string(t) + ": weights off by " + std::to_string(worst / scale));
    nonzero += !theirs[t].indices.empty();
  }
  expect(nonzero > 0, what + ": some weights are not zero");
}

void checkMarginals() {
  const Problem problem(131, 257, 3, 1);
  checkMarginal(problem, selecting(131, 1, 5), false, "marginal");
  FitOptions standardised = selecting(131, 3, 5);
  standardised.standardise = true;
  checkMarginal(problem, standardised, false, "marginal, three folds, standardised");
  checkMarginal(problem, selecting(131, 3, 5), true, "marginal, row weights");
  checkMarginal(problem, single(0.05), false, "marginal, one lambda");
#ifdef LETHE_EMULATE_CUDA
  emulator::setDeviceCount(2);
  checkMarginal(problem, selecting(131, 1, 5), false, "marginal on two devices");
  emulator::setDeviceCount(1);
#endif
}

// A model that counts k times is k models: the dense Lasso of the repeated problem certifies the fit.
void checkRowWeights() {
  const Problem problem(131, 43, 4, 9);
  std::vector<uint8_t> weights;  // of two pairs of targets
  Random random(3, Purpose::synthetic, 0);
  for (int64_t k = 0; k < problem.models * 2; ++k) weights.push_back(static_cast<uint8_t>(random.below(3)));
  TargetView targets = problem.targetView();
  targets.rowWeights = weights.data();
  targets.targetsPerWeight = 2;
  FitOptions standardised = single(0.1);
  standardised.standardise = true;
  for (const FitOptions& options : {selecting(131, 1, 5), single(0.1), standardised}) {
    const std::string what = options.fold.empty() ? options.standardise ? "row weights, standardised" : "row weights, one lambda" : "row weights";
    std::vector<TargetFit> ours, again, theirs;
    expect(fitOn(problem, targets, options, ours).ok() && fitOn(problem, targets, options, again).ok(), what + ": the fit succeeds");
    expect(allSame(ours, again), what + ": the same again");
    theirs = fit(*open(problem, options, 0), targets, options);
    for (int64_t t = 0; t < problem.targets && ours.size() == theirs.size(); ++t) {
      const TargetFit &a = ours[static_cast<size_t>(t)], &b = theirs[static_cast<size_t>(t)];
      const std::string which = what + ", target " + std::to_string(t);
      std::vector<uint8_t> counts;
      for (int64_t i = 0; i < problem.models; ++i) counts.push_back(weights[static_cast<size_t>(i * 2 + t / 2)]);
      expect(a.status == FitStatus::converged && !a.indices.empty(), which + " converges");
      expect(std::fabs(a.lambda - b.lambda) <= 1e-6 * b.lambda || asGood(problem, options, t, a.lambda, b.lambda, counts),
             which + ": lambda is as good as the processor's");
      const double gap = Naive(problem, t, counts, options.standardise).relativeGap(a.lambda, dense(a, problem.examples));
      expect(gap <= options.gapTolerance + 2e-6 && std::fabs(gap - a.gap) <= 2e-6, which + ": gap " + std::to_string(gap));
    }
  }
}

// Fits with tables of Gram counts have the same bytes as fits that count; one design serves many fits.
void checkTables() {
  const Problem problem(70, 200, 4, 5);
  for (FitOptions options : {selecting(70, 1, 4), selecting(70, 3, 4), single(0.1)}) {
    const std::vector<TargetFit> counted = fitAll(problem, options);
    std::unique_ptr<GpuFit> opened;
    expect(openOn(problem, options, {}, 100000, opened).ok() && opened->hasTables(), "many targets make tables");
    std::vector<TargetFit> fits, part;
    expect(opened->fit(problem.targetView(), {}, fits).ok() && allSame(fits, counted), "pairs of a table are those of the bits");
    expect(opened->fit(problem.targetsFrom(1, 2), {}, part).ok() && part.size() == 2 && same(part[1], counted[2]), "another fit of the same design");
    GpuOptions some;
    some.memoryBytes = 500 << 10;  // a quarter holds one table; paths and the final fit use one, two or four
    expect(openOn(problem, options, some, 100000, opened).ok() && opened->hasTables() && opened->fit(problem.targetView(), {}, fits).ok() &&
               allSame(fits, counted),
           "fits where one table has room");
    expect(openOn(problem, options, {}, 10, opened).ok() && !opened->hasTables(), "few targets make none");
  }
}

void checkSpecialTargets() {
  Problem problem(97, 33, 5, 4);
  problem.fillColumn(3, 0);
  problem.fillColumn(5, 1);
  problem.copyColumn(7, 8);
  for (int64_t i = 0; i < 97; ++i) {
    problem.values[static_cast<size_t>(i * 5 + 1)] = 2.5f;
    if (i % 5 != 0) problem.values[static_cast<size_t>(i * 5 + 3)] = 1.5f;  // constant but for held-out models
  }
  problem.values[2] = std::numeric_limits<float>::infinity();
  const FitOptions options = selecting(97, 1, 5);
  const std::vector<TargetFit> ours = fitAll(problem, options), theirs = fit(problem, options, 5);
  for (size_t t = 0; t < 5; ++t) expect(ours[t].status == theirs[t].status, "status of special target " + std::to_string(t));
  expect(same(ours[1], theirs[1]) && std::isnan(ours[2].bias) && ours[2].indices.empty(), "constant and non-finite targets");
  expect(ours[3].indices.empty() && std::fabs(ours[3].lambda - theirs[3].lambda) <= 1e-6 * theirs[3].lambda, "spread among held-out models only");
  FitOptions large = single(1e6);
  const std::vector<TargetFit> zero = fitAll(problem, large);
  expect(zero[0].status == FitStatus::converged && zero[0].indices.empty() && zero[0].gap <= 1e-9, "all weights are zero above lambda_max");
  std::vector<TargetFit> fits;
  GpuOptions missing;
  missing.devices = {deviceCount()};
  expect(fitOn(problem, problem.targetView(), options, fits, missing).code == "LETHE_GPU_UNAVAILABLE", "a device that is not there");
  FitOptions wrong = options;
  wrong.fold.pop_back();
  expect(fitOn(problem, problem.targetView(), wrong, fits).code == "LETHE_ARGUMENT_INVALID", "options are checked as on the processor");
}

void checkIndependence() {
  const Problem problem(70, 200, 4, 5);  // working sets outgrow their first size
  const FitOptions options = selecting(70, 1, 4);
  const std::vector<TargetFit> fits = fitAll(problem, options);
  for (int64_t t = 0; t < 4; t += 3) {
    std::vector<TargetFit> one;
    fitOn(problem, problem.targetsFrom(t, 1), options, one);
    expect(one.size() == 1 && same(one[0], fits[static_cast<size_t>(t)]), "a target's fit does not depend on its neighbours");
  }
  expect(allSame(fitAll(problem, options), fits), "nor on anything that differs from one run to the next");
#ifdef LETHE_EMULATE_CUDA
  emulator::setThreadOrder(true);
  expect(allSame(fitAll(problem, options), fits), "nor on the order of threads and blocks");
  emulator::setThreadOrder(false);
  emulator::setDeviceCount(2);
  expect(allSame(fitAll(problem, options), fits), "nor on the number of devices");
  emulator::setDeviceCount(1);
  emulator::tellSharedBytes(1200);
  expect(allSame(fitAll(problem, options), fits), "nor on where gradients have room");
  emulator::tellSharedBytes(163 << 10);
#endif
}

#ifdef LETHE_EMULATE_CUDA
// Several workers of a device: with room for all, and where they put targets back and wait for room.
void checkWorkers() {
  Common common(1024);
  const int64_t numGiven = common.numGiven();
  expect(common.take(1024) == 0 && common.take(1) == -1, "memory that is all taken");
  common.putBack({7, 64});
  std::thread waiting([&] {
    common.waitForRoom(numGiven, [] { return false; });
    const std::vector<Waiting> again = common.takeWaiting(5);
    expect(again.size() == 1 && again[0].target == 7 && again[0].capacity == 64 && common.take(512) == 0, "a worker that waited takes what was put back");
  });
  common.give(0, 1024);
  waiting.join();
  std::atomic<bool> stopped{false};
  std::thread stopping([&] { common.waitForRoom(common.numGiven(), [&] { return stopped.load(); }); });
  stopped = true;
  stopping.join();
  const Problem problem(31, 200, 140, 8);
  const FitOptions options = single(0.1);
  const std::vector<TargetFit> fits = fitAll(problem, options);
  for (int64_t t = 0; t < 140; t += 139) {
    std::vector<TargetFit> one;
    fitOn(problem, problem.targetsFrom(t, 1), options, one);
    expect(one.size() == 1 && same(one[0], fits[static_cast<size_t>(t)]), "a target's fit does not depend on the worker");
  }
  GpuOptions gpu;
  gpu.memoryBytes = 1600 << 10;
  emulator::resetPeak();
  const int64_t before = emulator::allocatedBytes();
  expect(allSame(fitAll(problem, options, gpu), fits), "nor on which of them found room");
  expect(emulator::peakBytes() - before <= gpu.memoryBytes && emulator::allocatedBytes() == before, "all of them together keep to the memory they may use");
}

void checkMemory() {
  const Problem problem(70, 200, 4, 5);
  const FitOptions options = selecting(70, 1, 4);
  const std::vector<TargetFit> fits = fitAll(problem, options);
  GpuOptions gpu;
  gpu.memoryBytes = 1000;
  std::vector<TargetFit> none;
  const Status tooLittle = fitOn(problem, problem.targetView(), options, none, gpu);
  expect(tooLittle.code == "LETHE_GPU_MEMORY_EXHAUSTED", "a budget that no target fits in: " + tooLittle.message);
  int fitted = 0, refused = 0;
  for (int64_t bytes = 60 << 10; bytes <= 360 << 10; bytes += 60 << 10) {
    gpu.memoryBytes = bytes;
    emulator::resetPeak();
    const int64_t before = emulator::allocatedBytes();
    std::vector<TargetFit> some;
    const Status status = fitOn(problem, problem.targetView(), options, some, gpu);
    expect(emulator::peakBytes() - before <= bytes,
           "no more memory than allowed: " + std::to_string(emulator::peakBytes() - before) + " of " + std::to_string(bytes));
    expect(emulator::allocatedBytes() == before, "all of it is given back");
    if (status.ok()) {
      ++fitted;
      expect(allSame(some, fits), "targets that had to wait or start again for want of memory have the same fits");
    } else {
      ++refused;
      expect(status.code == "LETHE_GPU_MEMORY_EXHAUSTED", "too little memory is said: " + status.message);
    }
  }
  expect(fitted > 1 && refused > 0, std::to_string(fitted) + " budgets were enough, " + std::to_string(refused) + " were not");
}

void checkFailures() {
  const Problem problem(41, 20, 3, 6);
  const FitOptions options = selecting(41, 1, 5);
  const std::vector<TargetFit> fits = fitAll(problem, options);
  for (int64_t launch : {0, 3, 9}) {
    emulator::failAtLaunch(launch);
    std::vector<TargetFit> broken;
    expect(fitOn(problem, problem.targetView(), options, broken).code == "LETHE_GPU_FAILED", "a launch that fails is said");
    emulator::failAtLaunch(-1);
    expect(allSame(fitAll(problem, options), fits), "the next fit works");
  }
}
#endif

void checkControl() {
  const Problem problem(41, 20, 80, 7);
  const FitOptions options = selecting(41, 1, 5);
  std::atomic<int32_t> flag{0};
  TaskControl control;
  control.abortFlag = &flag;
  double last = 0;
  control.onProgress = [&](double done, double total) {
    last = std::max(last, done / total);
    if (done >= 5) flag = 1;
  };
  std::vector<TargetFit> fits;
  expect(fitOn(problem, problem.targetView(), options, fits, {}, control).code == "LETHE_TASK_ABORTED" && last < 1, "a fit that is stopped ends early");
  std::unique_ptr<GpuFit> opened;
  expect(openOn(problem, options, {}, 100000, opened, control).code == "LETHE_TASK_ABORTED" && !opened, "an upload that is stopped opens nothing");
}

// Shares of lambda_max and relaxations of each target, as the processor solves them; the mixture is made on the host.
void checkPooled() {
  const Problem problem(131, 70, 6, 12);
  FitOptions options = selecting(131, 1, 5);
  options.pooled = true;
  options.gapTolerance = 1e-6;
  const std::vector<double> ratios{0.8, 0.5, 0.3, 0.2, 1.0, 0.4}, relaxations{0, 1, 0.5, 1, 1, 0.25};
  TargetView targets = problem.targetView();
  targets.lambdaRatio = ratios.data();
  targets.relaxation = relaxations.data();
  std::vector<TargetFit> ours, again;
  expect(fitOn(problem, targets, options, ours).ok() && fitOn(problem, targets, options, again).ok() && allSame(ours, again),
         "pooled fits succeed, the same again");
  const std::vector<TargetFit> theirs = fit(*open(problem, options, 6), targets, options);
  for (size_t t = 0; t < 6 && ours.size() == 6; ++t) {
    const std::vector<double> left = dense(ours[t], 70), right = dense(theirs[t], 70);
    double worst = 0, scale = 1e-9;
    for (size_t j = 0; j < 70; ++j) {
      worst = std::max(worst, std::fabs(left[j] - right[j]));
      scale = std::max(scale, std::fabs(right[j]));
    }
    expect(ours[t].status == FitStatus::converged && std::fabs(ours[t].lambda - theirs[t].lambda) <= 1e-6 * theirs[t].lambda && worst <= 2e-3 * scale,
           "pooled, target " + std::to_string(t) + ": weights off by " + std::to_string(worst / scale));
  }
  expect(ours.size() == 6 && ours[4].indices.empty() && !ours[3].indices.empty(), "no weights at lambda_max, some below");
}

}  // namespace

int main() {
  if (deviceCount() == 0) {
    skip("no GPU");
    return finish();
  }
  checkAgainstProcessor();
  checkMarginals();
  checkPooled();
  checkRowWeights();
  checkTables();
  checkSpecialTargets();
  checkIndependence();
#ifdef LETHE_EMULATE_CUDA
  checkWorkers();
  checkMemory();
  checkFailures();
#endif
  checkControl();
  return finish();
}
