// What JavaScript gave, read with typed errors: every wrong value is LETHE_ARGUMENT_INVALID with its name, what was expected and what was received.
#pragma once
#include <napi.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lethe/base/isa.h"
#include "lethe/base/status.h"
#include "lethe/gpu_ops.h"
#include "lethe/train/kernels.h"

namespace lethe::addon {

// An Error with .code set, as TypeScript's LetheError expects it.
Napi::Error toError(Napi::Env env, const Status& status);
[[noreturn]] void invalid(Napi::Env env, const std::string& name, const std::string& expected, const std::string& received);

std::string describe(const Napi::Value& value);  // for "received"

Napi::Object objectOf(const Napi::Value& value, const std::string& name);
std::string textOf(const Napi::Value& value, const std::string& name);
double numberOf(const Napi::Value& value, const std::string& name);                              // finite
int64_t countOf(const Napi::Value& value, const std::string& name, double most = 9007199254740991.0);  // an integer >= 0, by default any exact one

// The first argument of functions that take (request, onProgress?, abortFlag?).
Napi::Object requestOf(const Napi::CallbackInfo& info);

// Properties of an object.
Napi::Value property(const Napi::Object& object, const char* name);
bool has(const Napi::Object& object, const char* name);  // not undefined
Napi::Object objectProperty(const Napi::Object& object, const char* name);
double numberProperty(const Napi::Object& object, const char* name);
int64_t countProperty(const Napi::Object& object, const char* name);
int64_t dimensionProperty(const Napi::Object& object, const char* name);  // models, examples, points, ...: an index of one is an int32
int threadsProperty(const Napi::Object& object);                         // `threads`
bool booleanProperty(const Napi::Object& object, const char* name);
std::string stringProperty(const Napi::Object& object, const char* name);
std::vector<Napi::Value> listProperty(const Napi::Object& object, const char* name);
std::vector<Napi::Object> objectsProperty(const Napi::Object& object, const char* name);
std::vector<double> numbersProperty(const Napi::Object& object, const char* name);

template <typename Value>
using Words = std::vector<std::pair<std::string_view, Value>>;

// The meaning of a word; one that is not among them is an error.
template <typename Value>
Value meaningOf(const Napi::Value& given, const char* name, const Words<Value>& words) {
  const std::string word = textOf(given, name);
  std::string known;
  for (const auto& [text, meaning] : words) {
    if (text == word) return meaning;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  invalid(given.Env(), name, "one of " + known, "\"" + word + "\"");
}

Isa isaOf(const Napi::Value& value);              // "" and "auto": the best; LETHE_ISA_UNAVAILABLE
Precision precisionOf(const Napi::Value& value);

// The GPU's ops where the request's `device` is "cuda", null where it is "cpu". Throws LETHE_GPU_UNAVAILABLE where no GPU can be used.
const GpuOps* gpuOf(const Napi::Object& request);

// Elements of an array with such sides. Throws where they are more than any array has: no product of sizes wraps.
size_t product(Napi::Env env, const std::string& name, std::initializer_list<int64_t> sides);

}  // namespace lethe::addon
