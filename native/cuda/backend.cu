// The table of ops on the GPU.
#include "lethe/gpu.h"

#include "cuda/gpu.h"

namespace lethe {

Status LETHE_PER_ISA(fitDatamodelsOnGpu)(const MaskView&, const TargetView&, const FitOptions&, const GpuOptions&, const TaskControl&,
                                         std::vector<TargetFit>&);

const GpuOps& LETHE_PER_ISA(gpuOpsOf)() {
  static const GpuOps ops = [] {
    GpuOps table;
    table.name = LETHE_TEXT(LETHE_ISA);
    table.deviceCount = [] { return deviceCount(); };
    table.fitDatamodels = &LETHE_PER_ISA(fitDatamodelsOnGpu);
    return table;
  }();
  return ops;
}

#ifndef LETHE_EMULATE_CUDA
const GpuOps* gpuOps() { return &gpuOpsOf_cuda(); }
#endif

}  // namespace lethe
