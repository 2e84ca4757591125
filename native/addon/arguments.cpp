#include "addon/arguments.h"

#include <cmath>
#include <cstdio>

#include "lethe/base/cuda_report.h"

namespace lethe::addon {

namespace {

constexpr double kMostElements = 9007199254740991.0;  // what JavaScript counts
constexpr double kMostIndexed = 2147483647.0;
constexpr double kMostThreads = 65536.0;

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.17g", value);
  return buffer;
}

}  // namespace

Napi::Error toError(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.code + ": " + status.message);
  error.Set("code", Napi::String::New(env, status.code));
  return error;
}

void invalid(Napi::Env env, const std::string& name, const std::string& expected, const std::string& received) {
  throw toError(env, Status::error("LETHE_ARGUMENT_INVALID", name + ": expected " + expected + "; received " + received + "."));
}

std::string describe(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return value.As<Napi::Boolean>().Value() ? "true" : "false";
    case napi_number: return text(value.As<Napi::Number>().DoubleValue());
    case napi_string: return "a string";
    case napi_symbol: return "a symbol";
    case napi_bigint: return "a bigint";
    case napi_function: return "a function";
    default: break;
  }
  return value.IsTypedArray() ? "another typed array" : value.IsArray() ? "an array" : "an object";
}

Napi::Object objectOf(const Napi::Value& value, const std::string& name) {
  if (!value.IsObject()) invalid(value.Env(), name, "an object", describe(value));
  return value.As<Napi::Object>();
}

std::string textOf(const Napi::Value& value, const std::string& name) {
  if (!value.IsString()) invalid(value.Env(), name, "a string", describe(value));
  return value.As<Napi::String>().Utf8Value();
}

double numberOf(const Napi::Value& value, const std::string& name) {
  if (!value.IsNumber() || !std::isfinite(value.As<Napi::Number>().DoubleValue())) invalid(value.Env(), name, "a finite number", describe(value));
  return value.As<Napi::Number>().DoubleValue();
}

int64_t countOf(const Napi::Value& value, const std::string& name, double most) {
  const double count = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(count >= 0 && count <= most) || count != std::floor(count)) invalid(value.Env(), name, "an integer of 0 to " + text(most), describe(value));
  return static_cast<int64_t>(count);
}

Napi::Object requestOf(const Napi::CallbackInfo& info) { return objectOf(info[0], "request"); }

Napi::Value property(const Napi::Object& object, const char* name) { return object.Get(name); }
bool has(const Napi::Object& object, const char* name) { return !property(object, name).IsUndefined(); }
Napi::Object objectProperty(const Napi::Object& object, const char* name) { return objectOf(property(object, name), name); }
double numberProperty(const Napi::Object& object, const char* name) { return numberOf(property(object, name), name); }
int64_t countProperty(const Napi::Object& object, const char* name) { return countOf(property(object, name), name); }
int64_t dimensionProperty(const Napi::Object& object, const char* name) { return countOf(property(object, name), name, kMostIndexed); }
int threadsProperty(const Napi::Object& object) { return static_cast<int>(countOf(property(object, "threads"), "threads", kMostThreads)); }
std::string stringProperty(const Napi::Object& object, const char* name) { return textOf(property(object, name), name); }

bool booleanProperty(const Napi::Object& object, const char* name) {
  const Napi::Value value = property(object, name);
  if (!value.IsBoolean()) invalid(object.Env(), name, "a boolean", describe(value));
  return value.As<Napi::Boolean>().Value();
}

std::vector<Napi::Value> listProperty(const Napi::Object& object, const char* name) {
  const Napi::Value value = property(object, name);
  if (!value.IsArray()) invalid(object.Env(), name, "an array", describe(value));
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<Napi::Value> list;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    list.push_back(array.Get(i));
    if (list.back().IsUndefined()) invalid(object.Env(), name, "an array without holes", "undefined at " + std::to_string(i));
  }
  return list;
}

std::vector<Napi::Object> objectsProperty(const Napi::Object& object, const char* name) {
  std::vector<Napi::Object> objects;
  for (const Napi::Value& value : listProperty(object, name)) objects.push_back(objectOf(value, name));
  return objects;
}

std::vector<double> numbersProperty(const Napi::Object& object, const char* name) {
  std::vector<double> numbers;
  for (const Napi::Value& value : listProperty(object, name)) numbers.push_back(numberOf(value, name));
  return numbers;
}

Isa isaOf(const Napi::Value& value) {
  Isa isa = Isa::portable;
  const Status status = resolveIsa(textOf(value, "isa"), isa);
  if (!status.ok()) throw toError(value.Env(), status);
  return isa;
}

Precision precisionOf(const Napi::Value& value) { return meaningOf<Precision>(value, "precision", {{"fp32", Precision::fp32}, {"bf16", Precision::bf16}}); }

const GpuOps* gpuOf(const Napi::Object& request) {
  if (!meaningOf<bool>(property(request, "device"), "device", {{"cpu", false}, {"cuda", true}})) return nullptr;
  const GpuOps* ops = gpuOps();
  if (ops && ops->deviceCount() > 0) return ops;
  throw toError(request.Env(), Status::error("LETHE_GPU_UNAVAILABLE", "expected a GPU; received: " + cudaReport().problem + ". Use device cpu."));
}

size_t product(Napi::Env env, const std::string& name, std::initializer_list<int64_t> sides) {
  double elements = 1;  // exact up to the bound
  for (const int64_t side : sides) elements *= static_cast<double>(side);
  if (!(elements <= kMostElements)) invalid(env, name, "sizes of at most " + text(kMostElements) + " elements together", text(elements));
  return static_cast<size_t>(elements);
}

}  // namespace lethe::addon
