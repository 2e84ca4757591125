// The GPU that a test runs on: the emulated one, or a real one if there is one.
#pragma once
#include "check.h"
#include "lethe/gpu.h"
#include "lethe/train_backend.h"
#ifdef LETHE_EMULATE_CUDA
#include "cuda/gpu.h"
#endif

namespace lethe {

#ifdef LETHE_EMULATE_CUDA
const GpuOps& gpuOpsOf_cuda_emulated();
#endif

namespace test {

// Null, and a line, without one.
inline const GpuOps* testGpu() {
#ifdef LETHE_EMULATE_CUDA
  return &gpuOpsOf_cuda_emulated();
#else
  const GpuOps* gpu = gpuOps();
  if (gpu && gpu->deviceCount() > 0) return gpu;
  skip("no GPU");
  return nullptr;
#endif
}

// Runs body(suffix of its checks' names) in both orders of threads where the GPU has an order.
template <typename Body>
void eachThreadOrder(Body body) {
  body(std::string());
#ifdef LETHE_EMULATE_CUDA
  emulator::setThreadOrder(true);
  body(std::string(", backwards"));
  emulator::setThreadOrder(false);
#endif
}

}  // namespace test
}  // namespace lethe
