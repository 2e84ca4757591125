#include <memory>

#include "lethe/lasso_rates.h"
#include "lethe/peaks.h"
#include "task.h"

namespace lethe::addon {

namespace {

// C++: measurePeaks(isa), compilerName()     TS: measurePeaks(isa: IsaName | ''): Promise<NativePeaks>
Napi::Value measurePeaksBinding(const Napi::CallbackInfo& info) {
  const std::string request = info[0].As<Napi::String>();
  auto peaks = std::make_shared<Peaks>();
  return runTask(
      info.Env(), TaskOptions{info.Env().Undefined(), info.Env().Undefined(), {}},
      [=](const TaskControl&) {
        Isa isa;
        const Status status = resolveIsa(request, isa);
        if (status.ok()) *peaks = measurePeaks(isa);
        return status;
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
  const std::string isa = info[0].As<Napi::String>();
  auto rates = std::make_shared<std::vector<KernelRate>>();
  return runTask(
      info.Env(), TaskOptions{info.Env().Undefined(), info.Env().Undefined(), {}},
      [=](const TaskControl&) { return lassoKernelRates(isa, *rates); },
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

}  // namespace

void registerBench(Napi::Env env, Napi::Object exports) {
  exports.Set("measurePeaks", Napi::Function::New(env, measurePeaksBinding, "measurePeaks"));
  exports.Set("lassoKernelRates", Napi::Function::New(env, lassoKernelRatesBinding, "lassoKernelRates"));
}

}  // namespace lethe::addon
