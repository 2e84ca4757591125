#include "lethe/lasso/fit.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "addon/arguments.h"
#include "addon/binding.h"
#include "addon/register.h"
#include "addon/task.h"

namespace lethe::addon {

namespace {

template <typename Array, typename Value>
void setColumn(Napi::Object to, const char* name, const std::vector<TargetFit>& fits, Value value) {
  Array column = Array::New(to.Env(), fits.size());
  for (size_t t = 0; t < fits.size(); ++t) column[t] = value(fits[t]);
  to.Set(name, column);
}

// Frees each fit's vectors as it goes: sparse weights of many targets are gigabytes.
Napi::Value toColumns(Napi::Env env, std::vector<TargetFit>& fits) {
  Napi::Object result = Napi::Object::New(env);
  setColumn<Napi::Uint8Array>(result, "status", fits, [](const TargetFit& fit) { return static_cast<uint8_t>(fit.status); });
  setColumn<Napi::Float32Array>(result, "bias", fits, [](const TargetFit& fit) { return fit.bias; });
  setColumn<Napi::Float32Array>(result, "lambda", fits, [](const TargetFit& fit) { return static_cast<float>(fit.lambda); });
  setColumn<Napi::Float32Array>(result, "gap", fits, [](const TargetFit& fit) { return static_cast<float>(fit.gap); });
  Napi::Float64Array rowStart = Napi::Float64Array::New(env, fits.size() + 1);
  size_t total = 0;
  for (size_t t = 0; t < fits.size(); ++t) {
    rowStart[t] = static_cast<double>(total);
    total += fits[t].indices.size();
  }
  rowStart[fits.size()] = static_cast<double>(total);
  Napi::Int32Array indices = Napi::Int32Array::New(env, total);
  Napi::Float32Array weights = Napi::Float32Array::New(env, total);
  size_t at = 0;
  for (TargetFit& fit : fits) {
    const size_t count = fit.indices.size();
    if (count > 0) {
      std::memcpy(indices.Data() + at, fit.indices.data(), count * sizeof(int32_t));
      std::memcpy(weights.Data() + at, fit.weights.data(), count * sizeof(float));
    }
    at += count;
    fit = TargetFit{};
  }
  result.Set("rowStart", rowStart);
  result.Set("indices", indices);
  result.Set("weights", weights);
  return result;
}

// What openDesign gave, and the options its fits share. Kept alive by its JavaScript handle and by every fit that runs.
struct Session {
  std::shared_ptr<const LassoDesign> design;
  FitOptions options;
  std::unique_ptr<GpuFit> gpu;  // null: on the CPU
};
typedef std::shared_ptr<const Session> SessionPointer;
constexpr napi_type_tag kSessionTag = {0x6c657468655f6465ull, 0x7369676e5f763031ull};

FitOptions readOptions(const Napi::Object& from) {
  FitOptions options;
  options.estimator = meaningOf<Estimator>(property(from, "estimator"), "estimator", {{"lasso", Estimator::lasso}, {"marginal", Estimator::marginal}});
  Buffers read;
  const std::span<const int32_t> fold = read.input<int32_t>(property(from, "fold"), "fold");
  options.fold.assign(fold.begin(), fold.end());
  const std::span<const double> lambdas = read.input<double>(property(from, "lambdas"), "lambdas");
  options.lambdas.assign(lambdas.begin(), lambdas.end());
  options.pathLength = countProperty(from, "pathLength");
  options.lambdaMinRatio = numberProperty(from, "lambdaMinRatio");
  options.refit = booleanProperty(from, "refit");
  options.pooled = booleanProperty(from, "pooled");
  options.lambda = numberProperty(from, "lambda");
  options.relaxation = numberProperty(from, "relaxation");
  options.standardise = booleanProperty(from, "standardise");
  options.gapTolerance = numberProperty(from, "gapTolerance");
  options.gramBytes = countProperty(from, "gramBytes");
  options.setBytes = countProperty(from, "setBytes");
  options.threads = threadsProperty(from);
  options.isa = stringProperty(from, "isa");
  return options;
}

Napi::Value toHandle(Napi::Env env, const SessionPointer& session) {
  const DesignInfo info = describeDesign(*session->design);
  Napi::Object result = Napi::Object::New(env);
  Napi::External<SessionPointer> handle =
      Napi::External<SessionPointer>::New(env, new SessionPointer(session), [](Napi::Env, SessionPointer* held) { delete held; });
  napi_type_tag_object(env, handle, &kSessionTag);
  result.Set("handle", handle);
  result.Set("isa", info.isa);
  result.Set("gram", !session->gpu ? info.gram : session->gpu->hasTables() ? "table16" : "counted");
  result.Set("bytes", static_cast<double>(info.bytes));
  result.Set("bytesPerThread", static_cast<double>(info.bytesPerThread));
  return result;
}

SessionPointer sessionOf(const Napi::Object& request) {
  const Napi::Value handle = property(request, "design");
  bool ours = false;
  if (handle.IsExternal()) napi_check_object_type_tag(request.Env(), handle, &kSessionTag, &ours);
  if (!ours) {
    throw toError(request.Env(), Status::error("LETHE_ARGUMENT_INVALID", "design: expected the handle of openDesign; received something else."));
  }
  return *handle.As<Napi::External<SessionPointer>>().Data();
}

// C++: openDesign(masks, options, numTargets, control, design)
// TS:  openDesign(request: NativeDesignRequest, onProgress?, abortFlag?): Promise<NativeDesign>
Napi::Value openDesignBinding(const Napi::CallbackInfo& info) {
  const Napi::Object request = requestOf(info);
  MaskView masks;
  masks.numModels = dimensionProperty(request, "numModels");
  masks.numTrain = dimensionProperty(request, "numTrain");
  Buffers buffers;
  const size_t maskBytes = product(info.Env(), "numModels x numTrain", {masks.numModels, (masks.numTrain + 7) / 8});
  masks.bits = buffers.input<uint8_t>(property(request, "bits"), "bits", maskBytes).data();
  const int64_t numTargets = dimensionProperty(request, "numTargets");
  auto session = std::make_shared<Session>();
  session->options = readOptions(request);
  const GpuOps* gpu = gpuOf(request);
  return runTask(
      info.Env(), TaskOptions{info[1], info[2], std::move(buffers)},
      [=](const TaskControl& control) {
        const Status status = openDesign(masks, session->options, gpu ? 0 : numTargets, control, session->design);
        return status.ok() && gpu ? gpu->openFit(session->design, session->options, GpuOptions{}, numTargets, control, session->gpu) : status;
      },
      [=](Napi::Env env) { return toHandle(env, session); });
}

TargetView readTargets(const Napi::Object& request, const Session& session, Buffers& buffers) {
  const Napi::Env env = request.Env();
  const int64_t models = describeDesign(*session.design).numModels;
  TargetView targets;
  targets.numTargets = targets.rowStride = dimensionProperty(request, "numTargets");
  targets.values = buffers.input<float>(property(request, "outputs"), "outputs", product(env, "models x numTargets", {models, targets.rowStride})).data();
  targets.targetsPerWeight = dimensionProperty(request, "targetsPerRowWeight");
  if (has(request, "rowWeights") && targets.targetsPerWeight > 0) {
    const int64_t columns = (targets.numTargets + targets.targetsPerWeight - 1) / targets.targetsPerWeight;
    targets.rowWeights = buffers.input<uint8_t>(property(request, "rowWeights"), "rowWeights", product(env, "models x row weights", {models, columns})).data();
  }
  return targets;
}

// C++: scorePaths(design, targets, options, relaxations, control, scores)
// TS:  scorePaths(request: NativeScoreRequest, onProgress?, abortFlag?): Promise<void>; on the CPU, also where the design is on a GPU
Napi::Value scorePathsBinding(const Napi::CallbackInfo& info) {
  const Napi::Object request = requestOf(info);
  const SessionPointer session = sessionOf(request);
  Buffers buffers;
  const TargetView targets = readTargets(request, *session, buffers);
  const std::span<const double> given = buffers.input<double>(property(request, "relaxations"), "relaxations");
  const std::vector<double> relaxations(given.begin(), given.end());
  const int64_t each = session->options.pathLength * static_cast<int64_t>(relaxations.size());
  const size_t all =
      product(info.Env(), "numTargets x pathLength x relaxations", {targets.numTargets, session->options.pathLength, static_cast<int64_t>(relaxations.size())});
  const std::span<float> errors = buffers.output<float>(property(request, "error"), "error", all);
  const std::span<float> correlations = buffers.output<float>(property(request, "correlation"), "correlation", all);
  auto scores = std::make_shared<std::vector<PathScore>>();
  return runTask(
      info.Env(), TaskOptions{info[1], info[2], std::move(buffers)},
      [=](const TaskControl& control) {
        const Status status = scorePaths(*session->design, targets, session->options, relaxations, control, *scores);
        const float nan = std::numeric_limits<float>::quiet_NaN();  // a target without a path has no scores
        std::fill(errors.begin(), errors.end(), nan);
        std::fill(correlations.begin(), correlations.end(), nan);
        for (size_t t = 0; t < scores->size(); ++t) {
          const int64_t at = static_cast<int64_t>(t) * each;
          std::copy((*scores)[t].error.begin(), (*scores)[t].error.end(), errors.begin() + at);
          std::copy((*scores)[t].correlation.begin(), (*scores)[t].correlation.end(), correlations.begin() + at);
        }
        return status;
      },
      [](Napi::Env env) { return env.Undefined(); });
}

// C++: fitDatamodels(design, targets, options, control, fits)
// TS:  fitDatamodels(request: NativeFitRequest, onProgress?, abortFlag?): Promise<NativeFits>
Napi::Value fitDatamodelsBinding(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const Napi::Object request = requestOf(info);
  const SessionPointer session = sessionOf(request);
  Buffers buffers;
  TargetView targets = readTargets(request, *session, buffers);
  const size_t count = static_cast<size_t>(targets.numTargets);
  if (has(request, "lambdaRatio")) targets.lambdaRatio = buffers.input<double>(property(request, "lambdaRatio"), "lambdaRatio", count).data();
  if (has(request, "relaxation")) targets.relaxation = buffers.input<double>(property(request, "relaxation"), "relaxation", count).data();
  auto fits = std::make_shared<std::vector<TargetFit>>();
  return runTask(
      env, TaskOptions{info[1], info[2], std::move(buffers)},
      [=](const TaskControl& control) {
        if (session->gpu) return session->gpu->fit(targets, control, *fits);
        return fitDatamodels(*session->design, targets, session->options, control, *fits);
      },
      [=](Napi::Env settleEnv) { return toColumns(settleEnv, *fits); });
}

}  // namespace

void registerLasso(Napi::Env env, Napi::Object exports) {
  define<openDesignBinding>(env, exports, "openDesign");
  define<scorePathsBinding>(env, exports, "scorePaths");
  define<fitDatamodelsBinding>(env, exports, "fitDatamodels");
}

}  // namespace lethe::addon
