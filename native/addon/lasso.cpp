#include "lethe/lasso.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "task.h"

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
  options.estimator = stringProperty(from, "estimator") == "marginal" ? Estimator::marginal : Estimator::lasso;
  const Napi::Value fold = property(from, "fold"), lambdas = property(from, "lambdas");
  const int32_t* folds = ints(fold, "fold", 0);
  options.fold.assign(folds, folds + fold.As<Napi::TypedArray>().ElementLength());
  const double* grid = doubles(lambdas, "lambdas", 0);
  options.lambdas.assign(grid, grid + lambdas.As<Napi::TypedArray>().ElementLength());
  options.pathLength = countProperty(from, "pathLength");
  options.lambdaMinRatio = numberProperty(from, "lambdaMinRatio");
  options.refit = booleanProperty(from, "refit");
  options.pooled = booleanProperty(from, "pooled");
  options.lambda = numberProperty(from, "lambda");
  options.relaxation = numberProperty(from, "relaxation");
  options.standardise = booleanProperty(from, "standardise");
  options.gapTolerance = numberProperty(from, "gapTolerance");
  options.gramBytes = countProperty(from, "gramBytes");
  options.threads = static_cast<int>(countProperty(from, "threads"));
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
  const Napi::Object request = info[0].As<Napi::Object>();
  MaskView masks;
  masks.numModels = countProperty(request, "numModels");
  masks.numTrain = countProperty(request, "numTrain");
  const Napi::Value bits = property(request, "bits");
  masks.bits = bytes(bits, "bits", static_cast<size_t>(masks.numModels * ((masks.numTrain + 7) / 8)));
  const int64_t numTargets = countProperty(request, "numTargets");
  auto session = std::make_shared<Session>();
  session->options = readOptions(request);
  const GpuOps* gpu = gpuOf(request);
  return runTask(
      info.Env(), TaskOptions{info[1], info[2], {bits}},
      [=](const TaskControl& control) {
        const Status status = openDesign(masks, session->options, gpu ? 0 : numTargets, control, session->design);
        return status.ok() && gpu ? gpu->openFit(session->design, session->options, GpuOptions{}, numTargets, control, session->gpu) : status;
      },
      [=](Napi::Env env) { return toHandle(env, session); });
}

TargetView readTargets(const Napi::Object& request, const Session& session, std::vector<Napi::Value>& pins) {
  const int64_t models = describeDesign(*session.design).numModels;
  TargetView targets;
  targets.numTargets = targets.rowStride = countProperty(request, "numTargets");
  const Napi::Value outputs = property(request, "outputs"), rowWeights = property(request, "rowWeights");
  targets.values = floats(outputs, "outputs", static_cast<size_t>(models * targets.rowStride));
  targets.targetsPerWeight = countProperty(request, "targetsPerRowWeight");
  pins.push_back(outputs);
  if (!rowWeights.IsUndefined() && targets.targetsPerWeight > 0) {
    const int64_t columns = (targets.numTargets + targets.targetsPerWeight - 1) / targets.targetsPerWeight;
    targets.rowWeights = bytes(rowWeights, "rowWeights", static_cast<size_t>(models * columns));
    pins.push_back(rowWeights);
  }
  return targets;
}

// C++: scorePaths(design, targets, options, relaxations, control, scores)
// TS:  scorePaths(request: NativeScoreRequest, onProgress?, abortFlag?): Promise<void>; on the CPU, also where the design is on a GPU
Napi::Value scorePathsBinding(const Napi::CallbackInfo& info) {
  const Napi::Object request = info[0].As<Napi::Object>();
  const SessionPointer session = sessionOf(request);
  std::vector<Napi::Value> pins;
  const TargetView targets = readTargets(request, *session, pins);
  const Napi::Value relaxations = property(request, "relaxations"), error = property(request, "error"), correlation = property(request, "correlation");
  const size_t count = relaxations.IsTypedArray() ? relaxations.As<Napi::TypedArray>().ElementLength() : 0;
  const double* given = doubles(relaxations, "relaxations", count);
  const std::vector<double> chosen(given, given + count);
  const size_t each = static_cast<size_t>(session->options.pathLength) * count, all = static_cast<size_t>(targets.numTargets) * each;
  float* errors = floats(error, "error", all);
  float* correlations = floats(correlation, "correlation", all);
  pins.insert(pins.end(), {error, correlation});
  auto scores = std::make_shared<std::vector<PathScore>>();
  return runTask(
      info.Env(), TaskOptions{info[1], info[2], pins},
      [=](const TaskControl& control) {
        const Status status = scorePaths(*session->design, targets, session->options, chosen, control, *scores);
        const float nan = std::numeric_limits<float>::quiet_NaN();  // a target without a path has no scores
        std::fill_n(errors, all, nan);
        std::fill_n(correlations, all, nan);
        for (size_t t = 0; t < scores->size(); ++t) {
          std::copy((*scores)[t].error.begin(), (*scores)[t].error.end(), errors + t * each);
          std::copy((*scores)[t].correlation.begin(), (*scores)[t].correlation.end(), correlations + t * each);
        }
        return status;
      },
      [](Napi::Env env) { return env.Undefined(); });
}

// C++: fitDatamodels(design, targets, options, control, fits)
// TS:  fitDatamodels(request: NativeFitRequest, onProgress?, abortFlag?): Promise<NativeFits>
Napi::Value fitDatamodelsBinding(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const Napi::Object request = info[0].As<Napi::Object>();
  const SessionPointer session = sessionOf(request);
  std::vector<Napi::Value> pins;
  TargetView targets = readTargets(request, *session, pins);
  const size_t count = static_cast<size_t>(targets.numTargets);
  const Napi::Value ratios = property(request, "lambdaRatio"), relaxations = property(request, "relaxation");
  if (!ratios.IsUndefined()) targets.lambdaRatio = doubles(ratios, "lambdaRatio", count);
  if (!relaxations.IsUndefined()) targets.relaxation = doubles(relaxations, "relaxation", count);
  for (const Napi::Value& value : {ratios, relaxations}) {
    if (!value.IsUndefined()) pins.push_back(value);
  }
  auto fits = std::make_shared<std::vector<TargetFit>>();
  return runTask(
      env, TaskOptions{info[1], info[2], pins},
      [=](const TaskControl& control) {
        if (session->gpu) return session->gpu->fit(targets, control, *fits);
        return fitDatamodels(*session->design, targets, session->options, control, *fits);
      },
      [=](Napi::Env settleEnv) { return toColumns(settleEnv, *fits); });
}

}  // namespace

void registerLasso(Napi::Env env, Napi::Object exports) {
  exports.Set("openDesign", Napi::Function::New(env, openDesignBinding, "openDesign"));
  exports.Set("scorePaths", Napi::Function::New(env, scorePathsBinding, "scorePaths"));
  exports.Set("fitDatamodels", Napi::Function::New(env, fitDatamodelsBinding, "fitDatamodels"));
}

}  // namespace lethe::addon
