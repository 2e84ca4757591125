#include "task.h"

#include <cmath>
#include <mutex>
#include <thread>

#include "lethe/cuda.h"

namespace lethe::addon {

namespace {

[[noreturn]] void invalid(Napi::Env env, const std::string& name, const std::string& expected, const std::string& received) {
  throw toError(env, Status::error("LETHE_ARGUMENT_INVALID", name + ": expected " + expected + "; received " + received + "."));
}

const char* typeName(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return "a boolean";
    case napi_number: return "a number";
    case napi_string: return "a string";
    case napi_function: return "a function";
    default: return value.IsTypedArray() ? "another typed array" : "an object";
  }
}

void* view(const Napi::Value& value, const char* name, napi_typedarray_type type, const char* typeLabel, size_t minLength) {
  Napi::Env env = value.Env();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) invalid(env, name, typeLabel, typeName(value));
  // the raw call also accepts views of SharedArrayBuffers, which node-addon-api's ArrayBuffer accessor refuses
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, nullptr, &length, &data, nullptr, nullptr) != napi_ok) invalid(env, name, typeLabel, "an unreadable view");
  if (length < minLength) {
    invalid(env, name, std::string(typeLabel) + " of at least " + std::to_string(minLength) + " elements", std::to_string(length) + " elements");
  }
  return data;
}

struct Task {
  std::function<Status(const TaskControl&)> work;
  std::function<Napi::Value(Napi::Env)> settle;
  std::vector<Napi::Reference<Napi::Value>> pins;
  Napi::FunctionReference onProgress;
  Napi::Promise::Deferred deferred;
  Napi::ThreadSafeFunction wake;  // carries progress and the end of the work to the JavaScript thread
  std::thread thread;
  Status status;
  std::mutex mutex;
  double done = 0, total = 0;
  bool progressQueued = false;

  explicit Task(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
};

void reportProgress(Task* task, double done, double total) {
  {
    std::lock_guard<std::mutex> lock(task->mutex);
    task->done = std::max(task->done, done);  // workers may report out of order
    task->total = total;
    if (task->progressQueued) return;
    task->progressQueued = true;
  }
  task->wake.NonBlockingCall([task](Napi::Env, Napi::Function) {
    double seenDone, seenTotal;
    {
      std::lock_guard<std::mutex> lock(task->mutex);
      task->progressQueued = false;
      seenDone = task->done;
      seenTotal = task->total;
    }
    if (!task->onProgress.IsEmpty()) {
      Napi::Env env = task->onProgress.Env();
      Napi::HandleScope scope(env);
      task->onProgress.Call({Napi::Number::New(env, seenDone), Napi::Number::New(env, seenTotal)});
    }
  });
}

void finish(Napi::Env env, Task* task) {
  task->thread.join();
  Napi::HandleScope scope(env);
  if (!task->status.ok()) {
    task->deferred.Reject(toError(env, task->status).Value());
  } else {
    try {
      task->deferred.Resolve(task->settle(env));
    } catch (const Napi::Error& error) {
      task->deferred.Reject(error.Value());
    }
  }
  task->wake.Release();
}

}  // namespace

Napi::Value runTask(Napi::Env env, TaskOptions options, std::function<Status(const TaskControl&)> work,
                    std::function<Napi::Value(Napi::Env)> settle) {
  auto* task = new Task(env);
  task->work = std::move(work);
  task->settle = std::move(settle);
  for (const Napi::Value& pin : options.pins) task->pins.push_back(Napi::Reference<Napi::Value>::New(pin, 1));
  if (!options.onProgress.IsEmpty() && options.onProgress.IsFunction()) {
    task->onProgress = Napi::Persistent(options.onProgress.As<Napi::Function>());
  }
  const std::atomic<int32_t>* flag = nullptr;
  if (!options.abortFlag.IsEmpty() && options.abortFlag.IsTypedArray()) {
    static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t));
    flag = reinterpret_cast<const std::atomic<int32_t>*>(ints(options.abortFlag, "abortFlag", 1));
    task->pins.push_back(Napi::Reference<Napi::Value>::New(options.abortFlag, 1));
  }
  const Napi::Promise promise = task->deferred.Promise();
  task->wake = Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "lethe task", 0, 1,
                                             [task](Napi::Env) { delete task; });
  task->thread = std::thread([task, flag] {
    TaskControl control;
    control.abortFlag = flag;
    control.onProgress = [task](double done, double total) { reportProgress(task, done, total); };
    try {
      task->status = task->work(control);
    } catch (const std::bad_alloc&) {
      task->status = Status::error("LETHE_MEMORY_EXHAUSTED", "the allocation failed. Use fewer threads, a smaller block or a machine with more memory.");
    } catch (const std::exception& error) {
      task->status = Status::error("LETHE_NATIVE_FAILED", error.what());
    }
    task->wake.BlockingCall([task](Napi::Env callEnv, Napi::Function) { finish(callEnv, task); });
  });
  return promise;
}

Napi::Error toError(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.code + ": " + status.message);
  error.Set("code", Napi::String::New(env, status.code));
  return error;
}

float* floats(const Napi::Value& value, const char* name, size_t minLength) {
  return static_cast<float*>(view(value, name, napi_float32_array, "a Float32Array", minLength));
}
double* doubles(const Napi::Value& value, const char* name, size_t minLength) {
  return static_cast<double*>(view(value, name, napi_float64_array, "a Float64Array", minLength));
}
int32_t* ints(const Napi::Value& value, const char* name, size_t minLength) {
  return static_cast<int32_t*>(view(value, name, napi_int32_array, "an Int32Array", minLength));
}
uint8_t* bytes(const Napi::Value& value, const char* name, size_t minLength) {
  return static_cast<uint8_t*>(view(value, name, napi_uint8_array, "a Uint8Array", minLength));
}

Napi::Value property(const Napi::Object& object, const char* name) { return object.Get(name); }

double numberProperty(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsNumber()) invalid(object.Env(), name, "a number", typeName(value));
  return value.As<Napi::Number>().DoubleValue();
}

int64_t countProperty(const Napi::Object& object, const char* name) {
  const double value = numberProperty(object, name);
  if (!(value >= 0) || value != std::floor(value) || value > 9007199254740992.0) {
    invalid(object.Env(), name, "an integer >= 0", std::to_string(value));
  }
  return static_cast<int64_t>(value);
}

bool booleanProperty(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsBoolean()) invalid(object.Env(), name, "a boolean", typeName(value));
  return value.As<Napi::Boolean>().Value();
}

std::string stringProperty(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsString()) invalid(object.Env(), name, "a string", typeName(value));
  return value.As<Napi::String>().Utf8Value();
}

const GpuOps* gpuOf(const Napi::Object& request) {
  if (stringProperty(request, "device") != "cuda") return nullptr;
  const GpuOps* ops = gpuOps();
  if (ops && ops->deviceCount() > 0) return ops;
  throw toError(request.Env(), Status::error("LETHE_GPU_UNAVAILABLE", "expected a GPU; received: " + cudaReport().problem + ". Use device cpu."));
}

}  // namespace lethe::addon
