// On which GPUs an op runs.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/base/status.h"

namespace lethe {

// Where an op runs. LETHE_GPU_UNAVAILABLE: no such device; LETHE_GPU_MEMORY_EXHAUSTED; LETHE_GPU_FAILED.
struct GpuOptions {
  std::vector<int> devices;  // ordinals; empty: all. Targets or models are split among them; results do not depend on how.
  int64_t memoryBytes = 0;   // of each device; 0: nine tenths of what is free
};

// The devices of the options where `present` can be used. LETHE_GPU_UNAVAILABLE: there is none, or one is listed twice or is not there.
Status chooseDevices(const GpuOptions& options, int present, std::vector<int>& devices);

}  // namespace lethe
