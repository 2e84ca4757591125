#include "lethe/lasso.h"

#include <cstring>

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

FitOptions readOptions(const Napi::Object& from) {
  FitOptions options;
  options.estimator = stringProperty(from, "estimator") == "marginal" ? Estimator::marginal : Estimator::lasso;
  const Napi::Value holdout = property(from, "holdout");
  const int32_t* models = ints(holdout, "holdout", 0);
  options.holdout.assign(models, models + holdout.As<Napi::TypedArray>().ElementLength());
  options.pathLength = countProperty(from, "pathLength");
  options.lambdaMinRatio = numberProperty(from, "lambdaMinRatio");
  options.refit = booleanProperty(from, "refit");
  options.lambda = numberProperty(from, "lambda");
  options.gapTolerance = numberProperty(from, "gapTolerance");
  options.threads = static_cast<int>(countProperty(from, "threads"));
  options.isa = stringProperty(from, "isa");
  return options;
}

// C++: fitDatamodels(masks, targets, options, control, fits)
// TS:  fitDatamodels(request: NativeFitRequest, onProgress?, abortFlag?): Promise<NativeFits>
Napi::Value fitDatamodelsBinding(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const Napi::Object request = info[0].As<Napi::Object>();
  MaskView masks;
  masks.numModels = countProperty(request, "numModels");
  masks.numTrain = countProperty(request, "numTrain");
  TargetView targets;
  targets.numTargets = targets.rowStride = countProperty(request, "numTargets");
  const Napi::Value bits = property(request, "bits"), outputs = property(request, "outputs");
  masks.bits = bytes(bits, "bits", static_cast<size_t>(masks.numModels * ((masks.numTrain + 7) / 8)));
  targets.values = floats(outputs, "outputs", static_cast<size_t>(masks.numModels * targets.rowStride));
  const FitOptions options = readOptions(request);
  auto fits = std::make_shared<std::vector<TargetFit>>();
  return runTask(
      env, TaskOptions{info[1], info[2], {bits, outputs}},
      [=](const TaskControl& control) { return fitDatamodels(masks, targets, options, control, *fits); },
      [=](Napi::Env settleEnv) { return toColumns(settleEnv, *fits); });
}

}  // namespace

void registerLasso(Napi::Env env, Napi::Object exports) {
  exports.Set("fitDatamodels", Napi::Function::New(env, fitDatamodelsBinding, "fitDatamodels"));
}

}  // namespace lethe::addon
