#include "lethe/isa.h"
#include "lethe/parallel.h"
#include "task.h"

namespace lethe::addon {

// C++: availableIsas, resolveIsa, allowedThreads     TS: systemInfo(): { isa, availableIsas, threads }
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
  return result;
}

void registerSystem(Napi::Env env, Napi::Object exports) { exports.Set("systemInfo", Napi::Function::New(env, systemInfo)); }

}  // namespace lethe::addon
