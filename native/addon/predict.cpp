#include "lethe/lasso/predict.h"

#include "addon/arguments.h"
#include "addon/binding.h"
#include "addon/register.h"
#include "addon/task.h"

namespace lethe::addon {

namespace {

// C++: predict     TS: predict(request: NativePredictRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value predictBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = requestOf(info);
  MaskView masks;
  masks.numModels = dimensionProperty(args, "numModels");
  masks.numTrain = dimensionProperty(args, "numTrain");
  DatamodelView view;
  view.numTargets = dimensionProperty(args, "numTargets");
  view.numTrain = masks.numTrain;
  Buffers buffers;
  const auto floats = [&](const char* name, size_t count) { return buffers.input<float>(property(args, name), name, count); };
  masks.bits = buffers.input<uint8_t>(property(args, "bits"), "bits", product(env, "numModels x numTrain", {masks.numModels, (masks.numTrain + 7) / 8})).data();
  view.bias = floats("bias", static_cast<size_t>(view.numTargets)).data();
  if (has(args, "dense")) {
    view.dense = floats("dense", product(env, "numTargets x numTrain", {view.numTargets, view.numTrain})).data();
  } else {
    const std::span<const float> weights = floats("weights", Buffers::kAll);
    view.weights = weights.data();
    view.numEntries = static_cast<int64_t>(weights.size());
    view.indices = buffers.input<int32_t>(property(args, "indices"), "indices", weights.size()).data();
    view.rowStart = buffers.input<double>(property(args, "rowStart"), "rowStart", static_cast<size_t>(view.numTargets + 1)).data();
  }
  float* predicted =
      buffers.output<float>(property(args, "predicted"), "predicted", product(env, "numModels x numTargets", {masks.numModels, view.numTargets})).data();
  const Isa isa = isaOf(property(args, "isa"));
  const int threads = threadsProperty(args);
  return runTask(
      env, TaskOptions{info[1], info[2], std::move(buffers)},
      [=](const TaskControl& control) { return predict(masks, view, isa, threads, predicted, control); }, settleNothing);
}

}  // namespace

void registerPredict(Napi::Env env, Napi::Object exports) { define<predictBinding>(env, exports, "predict"); }

}  // namespace lethe::addon
