#include "lethe/ridge/study.h"

#include "addon/arguments.h"
#include "addon/binding.h"
#include "addon/register.h"
#include "addon/task.h"

namespace lethe::addon {

namespace {

RidgeProblem readProblem(const Napi::Object& from, Buffers& buffers) {
  const auto doubles = [&](const char* name, size_t count) { return buffers.input<double>(property(from, name), name, count).data(); };
  RidgeProblem problem;
  problem.numTrain = dimensionProperty(from, "numTrain");
  problem.numForget = dimensionProperty(from, "numForget");
  problem.dim = dimensionProperty(from, "dim");
  problem.spanSize = dimensionProperty(from, "spanSize");
  problem.lambda = numberProperty(from, "lambda");
  problem.x = doubles("x", product(from.Env(), "numTrain x dim", {problem.numTrain, problem.dim}));
  problem.y = doubles("y", static_cast<size_t>(problem.numTrain));
  problem.thetaFull = doubles("thetaFull", static_cast<size_t>(problem.dim));
  problem.thetaStar = doubles("thetaStar", static_cast<size_t>(problem.dim));
  return problem;
}

RidgeRun readRun(const Napi::Object& from, int64_t numProblems) {
  RidgeRun run;
  run.problem = countProperty(from, "problem");
  const int64_t method = countProperty(from, "method");
  if (method > static_cast<int64_t>(RidgeMethod::matchingRetain) || run.problem >= numProblems) {
    throw toError(from.Env(), Status::error("LETHE_LINEAR_INVALID", "a run names a method or problem that is not there."));
  }
  run.method = static_cast<RidgeMethod>(method);
  run.ascentWeight = numberProperty(from, "ascentWeight");
  run.batchSize = countProperty(from, "batchSize");
  run.repetition = static_cast<uint64_t>(countProperty(from, "repetition"));
  return run;
}

RidgeOutcome readOutcome(const Napi::Object& from, int64_t numSteps, int64_t numLogs, int64_t dim, Buffers& buffers) {
  const auto doubles = [&](const char* name, size_t count) { return buffers.output<double>(property(from, name), name, count).data(); };
  RidgeOutcome outcome;
  const size_t size = product(from.Env(), "steps x loggedAt", {numSteps, numLogs});
  outcome.inSpan = doubles("inSpan", size);
  outcome.orthogonal = doubles("orthogonal", size);
  if (has(from, "iterates")) outcome.iterates = doubles("iterates", product(from.Env(), "steps x loggedAt x dim", {numSteps, numLogs, dim}));
  outcome.endings = buffers.output<uint8_t>(property(from, "endings"), "endings", static_cast<size_t>(numSteps)).data();
  return outcome;
}

RidgeOptions readOptions(const Napi::Object& from) {
  RidgeOptions options;
  Buffers read;
  const std::span<const double> steps = read.input<double>(property(from, "steps"), "steps");
  const std::span<const int32_t> loggedAt = read.input<int32_t>(property(from, "loggedAt"), "loggedAt");
  options.steps.assign(steps.begin(), steps.end());
  options.loggedAt.assign(loggedAt.begin(), loggedAt.end());
  options.seed = static_cast<uint64_t>(countProperty(from, "seed"));
  options.divergedAbove = numberProperty(from, "divergedAbove");
  options.convergedBelow = numberProperty(from, "convergedBelow");
  options.threads = threadsProperty(from);
  options.isa = isaOf(property(from, "isa"));
  return options;
}

// C++: ridgeStudy(problems, runs, options, outcomes, control)
// TS:  ridgeStudy(request: NativeRidgeRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value ridgeStudyBinding(const Napi::CallbackInfo& info) {
  const Napi::Object request = requestOf(info);
  Buffers buffers;
  std::vector<RidgeProblem> problems;
  std::vector<RidgeRun> runs;
  std::vector<RidgeOutcome> outcomes;
  const RidgeOptions options = readOptions(request);
  const auto numSteps = static_cast<int64_t>(options.steps.size()), numLogs = static_cast<int64_t>(options.loggedAt.size());
  for (const Napi::Object& entry : objectsProperty(request, "problems")) problems.push_back(readProblem(entry, buffers));
  for (const Napi::Object& entry : objectsProperty(request, "runs")) {
    runs.push_back(readRun(entry, static_cast<int64_t>(problems.size())));
    outcomes.push_back(readOutcome(entry, numSteps, numLogs, problems[static_cast<size_t>(runs.back().problem)].dim, buffers));
  }
  return runTask(
      info.Env(), TaskOptions{info[1], info[2], std::move(buffers)},
      [=](const TaskControl& control) { return ridgeStudy(problems, runs, options, outcomes, control); }, settleNothing);
}

}  // namespace

void registerRidge(Napi::Env env, Napi::Object exports) { define<ridgeStudyBinding>(env, exports, "ridgeStudy"); }

}  // namespace lethe::addon
