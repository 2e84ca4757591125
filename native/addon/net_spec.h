// NetSpec and ParameterTensor (src/types.ts) to and from their C++ twins.
#pragma once
#include <napi.h>

#include "lethe/train/net.h"

namespace lethe::addon {

NetSpec netSpec(const Napi::Value& value);  // throws LETHE_ARGUMENT_INVALID
Napi::Array parameterTensors(Napi::Env env, const ParameterLayout& layout);

}  // namespace lethe::addon
