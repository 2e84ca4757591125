#include "lethe/evaluate/evaluate.h"

#include "addon/arguments.h"
#include "addon/binding.h"
#include "addon/register.h"
#include "addon/task.h"

namespace lethe::addon {

namespace {

TaskOptions taskOptions(const Napi::CallbackInfo& info, Buffers buffers) { return {info[1], info[2], std::move(buffers)}; }

KlomMargins klomMargins(const Napi::Object& args, Napi::Env env, Buffers& buffers) {
  KlomMargins margins;
  margins.numOracles = dimensionProperty(args, "numOracles");
  margins.numUnlearned = dimensionProperty(args, "numUnlearned");
  margins.numPoints = dimensionProperty(args, "numPoints");
  const size_t oracles = product(env, "numOracles x numPoints", {margins.numOracles, margins.numPoints});
  const size_t unlearned = product(env, "numUnlearned x numPoints", {margins.numUnlearned, margins.numPoints});
  margins.oracle = buffers.input<float>(property(args, "oracleMargins"), "oracleMargins", oracles).data();
  margins.unlearned = buffers.input<float>(property(args, "unlearnedMargins"), "unlearnedMargins", unlearned).data();
  return margins;
}

// C++: klom, GpuOps::klom     TS: klom(request: NativeKlomRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value klomBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = requestOf(info);
  Buffers buffers;
  const KlomMargins margins = klomMargins(args, env, buffers);
  const size_t points = static_cast<size_t>(margins.numPoints);
  KlomOptions options;
  options.bins = countProperty(args, "bins");
  options.clip = numberProperty(args, "clip");
  options.epsilon = numberProperty(args, "epsilon");
  options.threads = threadsProperty(args);
  const Status status = klomVariantFromName(stringProperty(args, "variant"), options.variant);
  if (!status.ok()) throw toError(env, status);
  options.isa = isaOf(property(args, "isa"));
  const GpuOps* gpu = gpuOf(args);
  double* scores = buffers.output<double>(property(args, "scores"), "scores", points).data();
  int32_t* nonFinite = buffers.output<int32_t>(property(args, "nonFinite"), "nonFinite", points).data();
  return runTask(
      env, taskOptions(info, std::move(buffers)),
      [=](const TaskControl& control) {
        return gpu ? gpu->klom(margins, options, GpuOptions{}, scores, nonFinite, control) : klom(margins, options, scores, nonFinite, control);
      },
      settleNothing);
}

// C++: divergences     TS: divergences(request: NativeDivergencesRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value divergencesBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = requestOf(info);
  Buffers buffers;
  const KlomMargins margins = klomMargins(args, env, buffers);
  const double clip = numberProperty(args, "clip");
  const int threads = threadsProperty(args);
  const size_t points = static_cast<size_t>(margins.numPoints);
  double* gaussian = buffers.output<double>(property(args, "gaussian"), "gaussian", points).data();
  double* neighbours = buffers.output<double>(property(args, "neighbours"), "neighbours", points).data();
  return runTask(
      env, taskOptions(info, std::move(buffers)),
      [=](const TaskControl& control) { return divergences(margins, clip, threads, gaussian, neighbours, control); }, settleNothing);
}

// C++: marginsFromLogits     TS: margins(request: NativeMarginsRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value marginsBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = requestOf(info);
  const int64_t models = dimensionProperty(args, "numModels"), points = dimensionProperty(args, "numPoints"), classes = dimensionProperty(args, "numClasses");
  const int threads = threadsProperty(args);
  const size_t rows = product(env, "numModels x numPoints", {models, points});
  Buffers buffers;
  const float* logits =
      buffers.input<float>(property(args, "logits"), "logits", product(env, "numModels x numPoints x numClasses", {models, points, classes})).data();
  const int32_t* labels = buffers.input<int32_t>(property(args, "labels"), "labels", static_cast<size_t>(points)).data();
  float* margins = buffers.output<float>(property(args, "margins"), "margins", rows).data();
  uint8_t* predicted = buffers.output<uint8_t>(property(args, "predicted"), "predicted", rows).data();
  return runTask(
      env, taskOptions(info, std::move(buffers)),
      [=](const TaskControl& control) { return marginsFromLogits(logits, labels, models, points, classes, threads, margins, predicted, control); },
      settleNothing);
}

// C++: moments     TS: moments(request: NativeMomentsRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value momentsBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = requestOf(info);
  const int64_t models = dimensionProperty(args, "numModels"), points = dimensionProperty(args, "numPoints");
  const int threads = threadsProperty(args);
  const size_t columns = static_cast<size_t>(points);
  Buffers buffers;
  const float* margins = buffers.input<float>(property(args, "margins"), "margins", product(env, "numModels x numPoints", {models, points})).data();
  double* mean = buffers.output<double>(property(args, "mean"), "mean", columns).data();
  double* variance = buffers.output<double>(property(args, "variance"), "variance", columns).data();
  int32_t* nonFinite = buffers.output<int32_t>(property(args, "nonFinite"), "nonFinite", columns).data();
  return runTask(
      env, taskOptions(info, std::move(buffers)),
      [=](const TaskControl& control) { return moments(margins, models, points, threads, mean, variance, nonFinite, control); }, settleNothing);
}

// C++: spearman, GpuOps::spearman     TS: spearman(request: NativeSpearmanRequest, onProgress?, abortFlag?): Promise<{ numConstant: number; numNonFinite: number }>
Napi::Value spearmanBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = requestOf(info);
  const int64_t models = dimensionProperty(args, "numModels"), stride = dimensionProperty(args, "numPoints");
  const int64_t end = countOf(property(args, "endPoint"), "endPoint", static_cast<double>(stride));
  const int64_t first = countOf(property(args, "firstPoint"), "firstPoint", static_cast<double>(end));
  const int threads = threadsProperty(args);
  const size_t elements = product(env, "numModels x numPoints", {models, stride});
  Buffers buffers;
  const float* predicted = buffers.input<float>(property(args, "predicted"), "predicted", elements).data() + first;
  const float* actual = buffers.input<float>(property(args, "actual"), "actual", elements).data() + first;
  double* correlation = buffers.output<double>(property(args, "correlation"), "correlation", static_cast<size_t>(end - first)).data();
  const GpuOps* gpu = gpuOf(args);
  auto counts = std::make_shared<std::pair<int64_t, int64_t>>();
  return runTask(
      env, taskOptions(info, std::move(buffers)),
      [=](const TaskControl& control) {
        if (gpu) return gpu->spearman(predicted, actual, models, end - first, stride, GpuOptions{}, correlation, counts->first, counts->second, control);
        return spearman(predicted, actual, models, end - first, stride, threads, correlation, counts->first, counts->second, control);
      },
      [counts](Napi::Env settleEnv) {
        Napi::Object result = Napi::Object::New(settleEnv);
        result.Set("numConstant", static_cast<double>(counts->first));
        result.Set("numNonFinite", static_cast<double>(counts->second));
        return result;
      });
}

// C++: bootstrapMeans     TS: bootstrapMeans(request: NativeBootstrapRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value bootstrapMeansBinding(const Napi::CallbackInfo& info) {
  const Napi::Object args = requestOf(info);
  Buffers buffers;
  const std::span<const double> values = buffers.input<double>(property(args, "values"), "values");
  const std::span<double> means = buffers.output<double>(property(args, "means"), "means");
  const auto seed = static_cast<uint64_t>(countProperty(args, "seed"));
  const int threads = threadsProperty(args);
  return runTask(
      info.Env(), taskOptions(info, std::move(buffers)),
      [=](const TaskControl& control) {
        return bootstrapMeans(values.data(), static_cast<int64_t>(values.size()), static_cast<int64_t>(means.size()), seed, threads, means.data(), control);
      },
      settleNothing);
}

}  // namespace

void registerEvaluate(Napi::Env env, Napi::Object exports) {
  define<klomBinding>(env, exports, "klom");
  define<marginsBinding>(env, exports, "margins");
  define<momentsBinding>(env, exports, "moments");
  define<divergencesBinding>(env, exports, "divergences");
  define<spearmanBinding>(env, exports, "spearman");
  define<bootstrapMeansBinding>(env, exports, "bootstrapMeans");
}

}  // namespace lethe::addon
