#include "lethe/predict.h"

#include "task.h"

namespace lethe::addon {

namespace {

// C++: predict     TS: predict(request: NativePredictRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value predictBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) throw toError(env, Status::error("LETHE_ARGUMENT_INVALID", "expected a request object as the first argument."));
  const Napi::Object args = info[0].As<Napi::Object>();
  MaskView masks;
  masks.numModels = countProperty(args, "numModels");
  masks.numTrain = countProperty(args, "numTrain");
  DatamodelView view;
  view.numTargets = countProperty(args, "numTargets");
  view.numTrain = masks.numTrain;
  const auto size = [](int64_t a, int64_t b) { return static_cast<size_t>(a) * static_cast<size_t>(b); };
  std::vector<Napi::Value> pins;
  const auto pin = [&](const char* name) { return pins.emplace_back(property(args, name)); };
  masks.bits = bytes(pin("bits"), "bits", size(masks.numModels, (masks.numTrain + 7) / 8));
  view.bias = floats(pin("bias"), "bias", size(view.numTargets, 1));
  if (!property(args, "dense").IsUndefined()) {
    view.dense = floats(pin("dense"), "dense", size(view.numTargets, view.numTrain));
  } else {
    const Napi::Value weights = pin("weights");
    view.weights = floats(weights, "weights", 0);
    view.numEntries = static_cast<int64_t>(weights.As<Napi::TypedArray>().ElementLength());
    view.indices = ints(pin("indices"), "indices", size(view.numEntries, 1));
    view.rowStart = doubles(pin("rowStart"), "rowStart", size(view.numTargets + 1, 1));
  }
  float* predicted = floats(pin("predicted"), "predicted", size(masks.numModels, view.numTargets));
  Isa isa = Isa::portable;
  const Status status = resolveIsa(stringProperty(args, "isa"), isa);
  if (!status.ok()) throw toError(env, status);
  const int threads = static_cast<int>(countProperty(args, "threads"));
  return runTask(
      env, TaskOptions{info[1], info[2], std::move(pins)},
      [=](const TaskControl& control) { return predict(masks, view, isa, threads, predicted, control); },
      [](Napi::Env settleEnv) { return settleEnv.Undefined(); });
}

}  // namespace

void registerPredict(Napi::Env env, Napi::Object exports) { exports.Set("predict", Napi::Function::New(env, predictBinding, "predict")); }

}  // namespace lethe::addon
