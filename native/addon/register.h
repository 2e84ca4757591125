// Each binding file adds its functions to the module.
#pragma once
#include <napi.h>

namespace lethe::addon {

void registerSystem(Napi::Env env, Napi::Object exports);
void registerBuffers(Napi::Env env, Napi::Object exports);
void registerEvaluate(Napi::Env env, Napi::Object exports);
void registerTrain(Napi::Env env, Napi::Object exports);
void registerLasso(Napi::Env env, Napi::Object exports);
void registerRidge(Napi::Env env, Napi::Object exports);
void registerBench(Napi::Env env, Napi::Object exports);
void registerPredict(Napi::Env env, Napi::Object exports);
void registerProduct(Napi::Env env, Napi::Object exports);

}  // namespace lethe::addon
