// The table of ops on the GPU.
#include "lethe/gpu.h"

#include "cuda/gpu.h"

namespace lethe {

const TrainBackend& LETHE_PER_ISA(trainBackend)();

const GpuOps& LETHE_PER_ISA(gpuOpsOf)() {
  static const GpuOps ops = [] {
    GpuOps table;
    table.name = LETHE_TEXT(LETHE_ISA);
    table.deviceCount = [] { return deviceCount(); };
    table.train = &LETHE_PER_ISA(trainBackend)();
    return table;
  }();
  return ops;
}

#ifndef LETHE_EMULATE_CUDA
const GpuOps* gpuOps() { return &gpuOpsOf_cuda(); }
#endif

}  // namespace lethe
