// A function of the addon: whatever C++ throws in it reaches JavaScript as an error with a LETHE_ code.
#pragma once
#include <napi.h>

#include "addon/arguments.h"
#include "lethe/base/status.h"

namespace lethe::addon {

// Of the exception that is being handled.
Status statusOfException();

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return function(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw toError(info.Env(), statusOfException());
  }
}

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void define(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New(env, guarded<function>, name));
}

}  // namespace lethe::addon
