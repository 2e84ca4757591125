// NetSpec and ParameterTensor (src/types.ts) to and from their C++ twins.
#pragma once
#include "lethe/net.h"
#include "lethe/train_kernels.h"
#include "task.h"

namespace lethe::addon {

NetSpec netSpec(const Napi::Value& value);  // throws LETHE_ARGUMENT_INVALID
Precision precisionOf(const std::string& name);
Napi::Array parameterTensors(Napi::Env env, const ParameterLayout& layout);

}  // namespace lethe::addon
