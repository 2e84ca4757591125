// The GPU backend: the ops that run on NVIDIA GPUs, under the contracts of their CPU twins. Nothing here needs a driver to link or load.
#pragma once
#include <cstdint>
#include <vector>

namespace lethe {

struct TrainBackend;

// Where an op runs. LETHE_GPU_UNAVAILABLE: no such device; LETHE_GPU_MEMORY_EXHAUSTED; LETHE_GPU_FAILED.
struct GpuOptions {
  std::vector<int> devices;  // ordinals; empty: all. Targets or models are split among them; results do not depend on how.
  int64_t memoryBytes = 0;   // of each device; 0: nine tenths of what is free
};

// One table for the backend that nvcc built, and, in tests, one for the emulated GPU.
struct GpuOps {
  const char* name = "";
  int (*deviceCount)() = nullptr;
  const TrainBackend* train = nullptr;
};

// Null in a build without nvcc.
const GpuOps* gpuOps();

}  // namespace lethe
