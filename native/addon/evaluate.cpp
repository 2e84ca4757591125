#include "lethe/evaluate.h"

#include "task.h"

namespace lethe::addon {

namespace {

// Every function here takes (request, onProgress?, abortFlag?).
Napi::Object requestOf(const Napi::CallbackInfo& info) {
  if (!info[0].IsObject()) throw toError(info.Env(), Status::error("LETHE_ARGUMENT_INVALID", "expected a request object as the first argument."));
  return info[0].As<Napi::Object>();
}

TaskOptions taskOptions(const Napi::CallbackInfo& info, std::vector<Napi::Value> pins) { return {info[1], info[2], std::move(pins)}; }

size_t product(int64_t a, int64_t b, int64_t c = 1) { return static_cast<size_t>(a) * static_cast<size_t>(b) * static_cast<size_t>(c); }

// C++: klom, GpuOps::klom     TS: klom(request: NativeKlomRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value klomBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = requestOf(info);
  KlomMargins margins;
  margins.numOracles = countProperty(args, "numOracles");
  margins.numUnlearned = countProperty(args, "numUnlearned");
  margins.numPoints = countProperty(args, "numPoints");
  const Napi::Value oracle = property(args, "oracleMargins"), unlearned = property(args, "unlearnedMargins");
  const Napi::Value scores = property(args, "scores"), nonFinite = property(args, "nonFinite");
  margins.oracle = floats(oracle, "oracleMargins", product(margins.numOracles, margins.numPoints));
  margins.unlearned = floats(unlearned, "unlearnedMargins", product(margins.numUnlearned, margins.numPoints));
  KlomOptions options;
  options.bins = countProperty(args, "bins");
  options.clip = numberProperty(args, "clip");
  options.epsilon = numberProperty(args, "epsilon");
  options.threads = static_cast<int>(countProperty(args, "threads"));
  Status status = klomVariantFromName(stringProperty(args, "variant"), options.variant);
  if (status.ok()) status = resolveIsa(stringProperty(args, "isa"), options.isa);
  if (!status.ok()) throw toError(env, status);
  const GpuOps* gpu = gpuOf(args);
  double* scoresOut = doubles(scores, "scores", product(margins.numPoints, 1));
  int32_t* nonFiniteOut = ints(nonFinite, "nonFinite", product(margins.numPoints, 1));
  return runTask(
      env, taskOptions(info, {oracle, unlearned, scores, nonFinite}),
      [=](const TaskControl& control) {
        return gpu ? gpu->klom(margins, options, GpuOptions{}, scoresOut, nonFiniteOut, control) : klom(margins, options, scoresOut, nonFiniteOut, control);
      },
      [](Napi::Env settleEnv) { return settleEnv.Undefined(); });
}

// C++: marginsFromLogits     TS: margins(request: NativeMarginsRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value marginsBinding(const Napi::CallbackInfo& info) {
  const Napi::Object args = requestOf(info);
  const int64_t models = countProperty(args, "numModels"), points = countProperty(args, "numPoints"), classes = countProperty(args, "numClasses");
  const int threads = static_cast<int>(countProperty(args, "threads"));
  const Napi::Value logits = property(args, "logits"), labels = property(args, "labels");
  const Napi::Value margins = property(args, "margins"), predicted = property(args, "predicted");
  const float* logitsIn = floats(logits, "logits", product(models, points, classes));
  const int32_t* labelsIn = ints(labels, "labels", product(points, 1));
  float* marginsOut = floats(margins, "margins", product(models, points));
  uint8_t* predictedOut = bytes(predicted, "predicted", product(models, points));
  return runTask(
      info.Env(), taskOptions(info, {logits, labels, margins, predicted}),
      [=](const TaskControl& control) {
        return marginsFromLogits(logitsIn, labelsIn, models, points, classes, threads, marginsOut, predictedOut, control);
      },
      [](Napi::Env env) { return env.Undefined(); });
}

// C++: moments     TS: moments(request: NativeMomentsRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value momentsBinding(const Napi::CallbackInfo& info) {
  const Napi::Object args = requestOf(info);
  const int64_t models = countProperty(args, "numModels"), points = countProperty(args, "numPoints");
  const int threads = static_cast<int>(countProperty(args, "threads"));
  const Napi::Value margins = property(args, "margins"), mean = property(args, "mean"), variance = property(args, "variance");
  const Napi::Value nonFinite = property(args, "nonFinite");
  const float* marginsIn = floats(margins, "margins", product(models, points));
  double* meanOut = doubles(mean, "mean", product(points, 1));
  double* varianceOut = doubles(variance, "variance", product(points, 1));
  int32_t* nonFiniteOut = ints(nonFinite, "nonFinite", product(points, 1));
  return runTask(
      info.Env(), taskOptions(info, {margins, mean, variance, nonFinite}),
      [=](const TaskControl& control) { return moments(marginsIn, models, points, threads, meanOut, varianceOut, nonFiniteOut, control); },
      [](Napi::Env env) { return env.Undefined(); });
}

// C++: spearman, GpuOps::spearman     TS: spearman(request: NativeSpearmanRequest, onProgress?, abortFlag?): Promise<{ numConstant: number; numNonFinite: number }>
Napi::Value spearmanBinding(const Napi::CallbackInfo& info) {
  const Napi::Object args = requestOf(info);
  const int64_t models = countProperty(args, "numModels"), stride = countProperty(args, "numPoints");
  const int64_t first = countProperty(args, "firstPoint"), end = countProperty(args, "endPoint");
  if (first > end || end > stride) {
    throw toError(info.Env(), Status::error("LETHE_ARGUMENT_INVALID", "expected firstPoint <= endPoint <= numPoints."));
  }
  const int threads = static_cast<int>(countProperty(args, "threads"));
  const Napi::Value predicted = property(args, "predicted"), actual = property(args, "actual"), correlation = property(args, "correlation");
  const float* predictedIn = floats(predicted, "predicted", product(models, stride)) + first;
  const float* actualIn = floats(actual, "actual", product(models, stride)) + first;
  double* correlationOut = doubles(correlation, "correlation", product(end - first, 1));
  const GpuOps* gpu = gpuOf(args);
  auto counts = std::make_shared<std::pair<int64_t, int64_t>>();
  return runTask(
      info.Env(), taskOptions(info, {predicted, actual, correlation}),
      [=](const TaskControl& control) {
        if (gpu) {
          return gpu->spearman(predictedIn, actualIn, models, end - first, stride, GpuOptions{}, correlationOut, counts->first, counts->second, control);
        }
        return spearman(predictedIn, actualIn, models, end - first, stride, threads, correlationOut, counts->first, counts->second, control);
      },
      [counts](Napi::Env env) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("numConstant", static_cast<double>(counts->first));
        result.Set("numNonFinite", static_cast<double>(counts->second));
        return result;
      });
}

// C++: bootstrapMeans     TS: bootstrapMeans(request: NativeBootstrapRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value bootstrapMeansBinding(const Napi::CallbackInfo& info) {
  const Napi::Object args = requestOf(info);
  const Napi::Value values = property(args, "values"), means = property(args, "means");
  const double* valuesIn = doubles(values, "values", 0);
  double* meansOut = doubles(means, "means", 0);
  const auto count = static_cast<int64_t>(values.As<Napi::TypedArray>().ElementLength());
  const auto resamples = static_cast<int64_t>(means.As<Napi::TypedArray>().ElementLength());
  const auto seed = static_cast<uint64_t>(countProperty(args, "seed"));
  const int threads = static_cast<int>(countProperty(args, "threads"));
  return runTask(
      info.Env(), taskOptions(info, {values, means}),
      [=](const TaskControl& control) { return bootstrapMeans(valuesIn, count, resamples, seed, threads, meansOut, control); },
      [](Napi::Env env) { return env.Undefined(); });
}

}  // namespace

void registerEvaluate(Napi::Env env, Napi::Object exports) {
  exports.Set("klom", Napi::Function::New(env, klomBinding));
  exports.Set("margins", Napi::Function::New(env, marginsBinding));
  exports.Set("moments", Napi::Function::New(env, momentsBinding));
  exports.Set("spearman", Napi::Function::New(env, spearmanBinding));
  exports.Set("bootstrapMeans", Napi::Function::New(env, bootstrapMeansBinding));
}

}  // namespace lethe::addon
