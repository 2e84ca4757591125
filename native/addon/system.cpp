#include "addon/binding.h"
#include "addon/register.h"
#include "lethe/base/cuda_report.h"
#include "lethe/base/isa.h"
#include "lethe/base/parallel.h"
#include "lethe/gpu_ops.h"

namespace lethe::addon {

static Napi::Object cudaInfo(Napi::Env env) {
  const CudaReport report = cudaReport();
  Napi::Object cuda = Napi::Object::New(env);
  cuda.Set("built", report.built);
  cuda.Set("toolkit", report.toolkit);
  cuda.Set("problem", report.problem);
  Napi::Array devices = Napi::Array::New(env);
  for (const CudaDevice& device : report.devices) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", device.name);
    entry.Set("computeCapability", std::to_string(device.major) + "." + std::to_string(device.minor));
    entry.Set("totalBytes", static_cast<double>(device.totalBytes));
    entry.Set("freeBytes", static_cast<double>(device.freeBytes));
    devices.Set(devices.Length(), entry);
  }
  cuda.Set("devices", devices);
  return cuda;
}

// C++: availableIsas, resolveIsa, allowedThreads, cudaReport     TS: systemInfo(): SystemInfo
static Napi::Value systemInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Isa isa;
  const Status status = resolveIsa("", isa);
  if (!status.ok()) throw toError(env, status);
  Napi::Object result = Napi::Object::New(env);
  Napi::Array names = Napi::Array::New(env);
  for (Isa available : availableIsas()) names.Set(names.Length(), isaName(available));
  result.Set("isa", isaName(isa));
  result.Set("availableIsas", names);
  result.Set("threads", allowedThreads());
  result.Set("modelsPerGpu", kModelsPerGpu);
  result.Set("cuda", cudaInfo(env));
  return result;
}

void registerSystem(Napi::Env env, Napi::Object exports) { define<systemInfo>(env, exports, "systemInfo"); }

}  // namespace lethe::addon
