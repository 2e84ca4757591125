#include <memory>

#include "addon/binding.h"
#include "addon/net_spec.h"
#include "addon/register.h"
#include "addon/task.h"
#include "lethe/bench/lasso_rates.h"
#include "lethe/bench/peaks.h"
#include "lethe/bench/train_rates.h"

namespace lethe::addon {

namespace {

// C++: measurePeaks(isa), compilerName()     TS: measurePeaks(isa: IsaName | ''): Promise<NativePeaks>
Napi::Value measurePeaksBinding(const Napi::CallbackInfo& info) {
  const Isa isa = isaOf(info[0]);
  auto peaks = std::make_shared<Peaks>();
  return runTask(
      info.Env(), TaskOptions{info.Env().Undefined(), info.Env().Undefined(), {}},
      [=](const TaskControl&) {
        *peaks = measurePeaks(isa);
        return Status::success();
      },
      [=](Napi::Env env) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("fmaGflops", peaks->fmaGflops);
        result.Set("dotBf16Gflops", peaks->dotBf16Gflops);
        result.Set("amxInt8Tops", peaks->amxInt8Tops);
        result.Set("amxBf16Gflops", peaks->amxBf16Gflops);
        result.Set("popcountGwords", peaks->popcountGwords);
        result.Set("copyGbytes", peaks->copyGbytes);
        result.Set("copyCachedGbytes", peaks->copyCachedGbytes);
        result.Set("compiler", compilerName());
        return result;
      });
}

// C++: lassoKernelRates(isa, rates)     TS: lassoKernelRates(isa: IsaName | ''): Promise<NativeKernelRate[]>
Napi::Value lassoKernelRatesBinding(const Napi::CallbackInfo& info) {
  const std::string isa = textOf(info[0], "isa");
  auto rates = std::make_shared<std::vector<KernelRate>>();
  return runTask(
      info.Env(), TaskOptions{info.Env().Undefined(), info.Env().Undefined(), {}}, [=](const TaskControl&) { return lassoKernelRates(isa, *rates); },
      [=](Napi::Env env) {
        Napi::Array result = Napi::Array::New(env);
        for (const KernelRate& rate : *rates) {
          Napi::Object entry = Napi::Object::New(env);
          entry.Set("kernel", rate.kernel);
          entry.Set("shape", rate.shape);
          entry.Set("unit", rate.unit);
          entry.Set("rate", rate.rate);
          entry.Set("shareOfPeak", rate.shareOfPeak);
          result.Set(result.Length(), entry);
        }
        return result;
      });
}

// C++: trainLayerRates(net, isa, precision, batchSize, seconds, rates)
// TS: trainLayerRates(net: NetSpec, isa: IsaName | '', precision: Precision, batchSize: number, seconds: number): Promise<NativeLayerRate[]>
Napi::Value trainLayerRatesBinding(const Napi::CallbackInfo& info) {
  const NetSpec net = netSpec(info[0]);
  const Isa isa = isaOf(info[1]);
  const Precision precision = precisionOf(info[2]);
  const int64_t batchSize = countOf(info[3], "batchSize");
  const double seconds = numberOf(info[4], "seconds");
  auto rates = std::make_shared<std::vector<LayerRate>>();
  return runTask(
      info.Env(), TaskOptions{info.Env().Undefined(), info.Env().Undefined(), {}},
      [=](const TaskControl&) { return trainLayerRates(net, isa, precision, batchSize, seconds, *rates); },
      [=](Napi::Env env) {
        Napi::Array result = Napi::Array::New(env);
        for (const LayerRate& rate : *rates) {
          Napi::Object entry = Napi::Object::New(env);
          entry.Set("layer", rate.layer);
          entry.Set("part", rate.part);
          entry.Set("seconds", rate.seconds);
          entry.Set("operations", rate.operations);
          result.Set(result.Length(), entry);
        }
        return result;
      });
}

}  // namespace

void registerBench(Napi::Env env, Napi::Object exports) {
  define<measurePeaksBinding>(env, exports, "measurePeaks");
  define<trainLayerRatesBinding>(env, exports, "trainLayerRates");
  define<lassoKernelRatesBinding>(env, exports, "lassoKernelRates");
}

}  // namespace lethe::addon
