// Runs a core function on its own thread and settles a promise: the event loop stays free, progress arrives as calls of a
// JavaScript function, and an Int32Array over a SharedArrayBuffer is the abort flag.
#pragma once
#include <napi.h>

#include <functional>
#include <memory>
#include <vector>

#include "lethe/gpu.h"
#include "lethe/status.h"
#include "lethe/task.h"

namespace lethe::addon {

struct TaskOptions {
  Napi::Value onProgress;  // function (done: number, total: number) => void, or undefined
  Napi::Value abortFlag;   // Int32Array(1), shared or not, or undefined
  std::vector<Napi::Value> pins;  // every JavaScript buffer the work reads or writes: kept alive until the promise settles
};

// work runs on a new thread and must touch no JavaScript value; settle runs on the JavaScript thread after success.
Napi::Value runTask(Napi::Env env, TaskOptions options, std::function<Status(const TaskControl&)> work,
                    std::function<Napi::Value(Napi::Env)> settle);

// An Error with .code set, as TypeScript's LetheError expects it.
Napi::Error toError(Napi::Env env, const Status& status);

// Typed views; throw LETHE_ARGUMENT_INVALID (expected, received) on another type, a detached buffer or fewer than minLength elements.
float* floats(const Napi::Value& value, const char* name, size_t minLength);
double* doubles(const Napi::Value& value, const char* name, size_t minLength);
int32_t* ints(const Napi::Value& value, const char* name, size_t minLength);
uint8_t* bytes(const Napi::Value& value, const char* name, size_t minLength);

// Properties of an options object, with the same errors.
Napi::Value property(const Napi::Object& object, const char* name);
double numberProperty(const Napi::Object& object, const char* name);
int64_t countProperty(const Napi::Object& object, const char* name);  // an integer >= 0, exact in a double
bool booleanProperty(const Napi::Object& object, const char* name);
std::string stringProperty(const Napi::Object& object, const char* name);

// The GPU's ops where the request's `device` is "cuda", else null. Throws LETHE_GPU_UNAVAILABLE where no GPU can be used.
const GpuOps* gpuOf(const Napi::Object& request);

// Each binding file adds its functions to the module.
void registerSystem(Napi::Env env, Napi::Object exports);
void registerEvaluate(Napi::Env env, Napi::Object exports);
void registerTrain(Napi::Env env, Napi::Object exports);
void registerLasso(Napi::Env env, Napi::Object exports);
void registerLinear(Napi::Env env, Napi::Object exports);
void registerBench(Napi::Env env, Napi::Object exports);
void registerPredict(Napi::Env env, Napi::Object exports);

}  // namespace lethe::addon
