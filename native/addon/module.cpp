// The table of contents of the addon: one register function per binding file.
#include "addon/register.h"

static Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  lethe::addon::registerSystem(env, exports);
  lethe::addon::registerBuffers(env, exports);
  lethe::addon::registerTrain(env, exports);
  lethe::addon::registerEvaluate(env, exports);
  lethe::addon::registerLasso(env, exports);
  lethe::addon::registerRidge(env, exports);
  lethe::addon::registerBench(env, exports);
  lethe::addon::registerPredict(env, exports);
  lethe::addon::registerProduct(env, exports);
  return exports;
}

NODE_API_MODULE(lethe, initialise)
