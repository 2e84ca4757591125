#include "lethe/base/cross_product.h"

#include "addon/arguments.h"
#include "addon/binding.h"
#include "addon/register.h"
#include "addon/task.h"

namespace lethe::addon {

namespace {

// C++: crossProduct     TS: crossProduct(request: NativeCrossProductRequest, onProgress?, abortFlag?): Promise<void>
Napi::Value crossProductBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object args = requestOf(info);
  CrossProduct factors;
  factors.rows = dimensionProperty(args, "rows");
  factors.aColumns = dimensionProperty(args, "aColumns");
  factors.bColumns = dimensionProperty(args, "bColumns");
  Buffers buffers;
  factors.a = buffers.input<float>(property(args, "a"), "a", product(env, "rows x aColumns", {factors.rows, factors.aColumns})).data();
  factors.b = buffers.input<float>(property(args, "b"), "b", product(env, "rows x bColumns", {factors.rows, factors.bColumns})).data();
  float* result = buffers.output<float>(property(args, "product"), "product", product(env, "aColumns x bColumns", {factors.aColumns, factors.bColumns})).data();
  const Isa isa = isaOf(property(args, "isa"));
  const int threads = threadsProperty(args);
  return runTask(
      env, TaskOptions{info[1], info[2], std::move(buffers)}, [=](const TaskControl& control) { return crossProduct(factors, isa, threads, result, control); },
      settleNothing);
}

}  // namespace

void registerProduct(Napi::Env env, Napi::Object exports) { define<crossProductBinding>(env, exports, "crossProduct"); }

}  // namespace lethe::addon
