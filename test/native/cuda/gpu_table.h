// The GPU that a test runs on: the emulated one, or a real one (of which withoutGpu() has said that it is there).
#pragma once
#include "lethe/gpu_ops.h"
#include "lethe/train/backend.h"

namespace lethe {

#ifdef LETHE_EMULATE_CUDA
const GpuOps& gpuOpsOf_cuda_emulated();
#endif

namespace test {

inline const GpuOps& testGpu() {
#ifdef LETHE_EMULATE_CUDA
  return gpuOpsOf_cuda_emulated();
#else
  return *gpuOps();
#endif
}

}  // namespace test
}  // namespace lethe
