#include "lethe/linear.h"

#include "task.h"

namespace lethe::addon {

namespace {

std::vector<Napi::Object> objects(const Napi::Object& request, const char* name) {
  const Napi::Value value = property(request, name);
  if (!value.IsArray()) throw toError(request.Env(), Status::error("LETHE_ARGUMENT_INVALID", std::string(name) + ": expected an array of objects."));
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<Napi::Object> list;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value entry = array[i];
    if (!entry.IsObject()) throw toError(request.Env(), Status::error("LETHE_ARGUMENT_INVALID", std::string(name) + ": expected an array of objects."));
    list.push_back(entry.As<Napi::Object>());
  }
  return list;
}

double* pinned(const Napi::Object& from, const char* name, int64_t length, std::vector<Napi::Value>& pins) {
  pins.push_back(property(from, name));
  return doubles(pins.back(), name, static_cast<size_t>(length));
}

LinearProblem readProblem(const Napi::Object& from, std::vector<Napi::Value>& pins) {
  LinearProblem problem;
  problem.numTrain = countProperty(from, "numTrain");
  problem.numForget = countProperty(from, "numForget");
  problem.dim = countProperty(from, "dim");
  problem.spanSize = countProperty(from, "spanSize");
  problem.lambda = numberProperty(from, "lambda");
  problem.x = pinned(from, "x", problem.numTrain * problem.dim, pins);
  problem.y = pinned(from, "y", problem.numTrain, pins);
  problem.thetaFull = pinned(from, "thetaFull", problem.dim, pins);
  problem.thetaStar = pinned(from, "thetaStar", problem.dim, pins);
  return problem;
}

LinearRun readRun(const Napi::Object& from, int64_t numProblems) {
  LinearRun run;
  run.problem = countProperty(from, "problem");
  const int64_t method = countProperty(from, "method");
  if (method > static_cast<int64_t>(LinearMethod::matchingRetain) || run.problem >= numProblems) {
    throw toError(from.Env(), Status::error("LETHE_LINEAR_INVALID", "a run names a method or problem that is not there."));
  }
  run.method = static_cast<LinearMethod>(method);
  run.ascentWeight = numberProperty(from, "ascentWeight");
  run.batchSize = countProperty(from, "batchSize");
  run.repetition = static_cast<uint64_t>(countProperty(from, "repetition"));
  return run;
}

LinearOutcome readOutcome(const Napi::Object& from, size_t numSteps, size_t numLogs, int64_t dim, std::vector<Napi::Value>& pins) {
  LinearOutcome outcome;
  const int64_t size = static_cast<int64_t>(numSteps * numLogs);
  outcome.inSpan = pinned(from, "inSpan", size, pins);
  outcome.orthogonal = pinned(from, "orthogonal", size, pins);
  if (!property(from, "iterates").IsUndefined()) outcome.iterates = pinned(from, "iterates", size * dim, pins);
  pins.push_back(property(from, "endings"));
  outcome.endings = bytes(pins.back(), "endings", numSteps);
  return outcome;
}

LinearOptions readOptions(const Napi::Object& from) {
  LinearOptions options;
  const Napi::Value steps = property(from, "steps"), loggedAt = property(from, "loggedAt");
  const double* stepValues = doubles(steps, "steps", 0);
  const int32_t* logValues = ints(loggedAt, "loggedAt", 0);
  options.steps.assign(stepValues, stepValues + steps.As<Napi::TypedArray>().ElementLength());
  options.loggedAt.assign(logValues, logValues + loggedAt.As<Napi::TypedArray>().ElementLength());
  options.seed = static_cast<uint64_t>(countProperty(from, "seed"));
  options.divergedAbove = numberProperty(from, "divergedAbove");
  options.convergedBelow = numberProperty(from, "convergedBelow");
  options.threads = static_cast<int>(countProperty(from, "threads"));
  const Status status = resolveIsa(stringProperty(from, "isa"), options.isa);
  if (!status.ok()) throw toError(from.Env(), status);
  return options;
}

// C++: linearStudy(problems, runs, options, outcomes, control)
// TS:  linearStudy(request: NativeLinearRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value linearStudyBinding(const Napi::CallbackInfo& info) {
  if (!info[0].IsObject()) throw toError(info.Env(), Status::error("LETHE_ARGUMENT_INVALID", "expected a request object as the first argument."));
  const Napi::Object request = info[0].As<Napi::Object>();
  std::vector<Napi::Value> pins;
  std::vector<LinearProblem> problems;
  std::vector<LinearRun> runs;
  std::vector<LinearOutcome> outcomes;
  const LinearOptions options = readOptions(request);
  for (const Napi::Object& entry : objects(request, "problems")) problems.push_back(readProblem(entry, pins));
  for (const Napi::Object& entry : objects(request, "runs")) {
    runs.push_back(readRun(entry, static_cast<int64_t>(problems.size())));
    const int64_t dim = problems[static_cast<size_t>(runs.back().problem)].dim;
    outcomes.push_back(readOutcome(entry, options.steps.size(), options.loggedAt.size(), dim, pins));
  }
  return runTask(
      info.Env(), TaskOptions{info[1], info[2], pins},
      [=](const TaskControl& control) { return linearStudy(problems, runs, options, outcomes, control); },
      [](Napi::Env env) { return env.Undefined(); });
}

}  // namespace

void registerLinear(Napi::Env env, Napi::Object exports) {
  exports.Set("linearStudy", Napi::Function::New(env, linearStudyBinding, "linearStudy"));
}

}  // namespace lethe::addon
