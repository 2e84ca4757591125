// The table of ops on the GPU.
#include "lethe/gpu_ops.h"

#include "cuda/base/compiler.h"

namespace lethe {

Status LETHE_PER_ISA(measureGpuPeaks)(int, int64_t, int64_t, GpuPeaks&);
Status LETHE_PER_ISA(klomOnGpu)(const KlomMargins&, const KlomOptions&, const GpuOptions&, double*, int32_t*, const TaskControl&);
Status LETHE_PER_ISA(marginsFromLogitsOnGpu)(const float*, const int32_t*, int64_t, int64_t, int64_t, const GpuOptions&, float*, uint8_t*, const TaskControl&);
Status LETHE_PER_ISA(spearmanOnGpu)(const float*, const float*, int64_t, int64_t, int64_t, const GpuOptions&, double*, int64_t&, int64_t&, const TaskControl&);
const TrainBackend& LETHE_PER_ISA(trainBackend)();
Status LETHE_PER_ISA(openFitOnGpu)(std::shared_ptr<const LassoDesign>, const FitOptions&, const GpuOptions&, int64_t, const TaskControl&,
                                   std::unique_ptr<GpuFit>&);

const GpuOps& LETHE_PER_ISA(gpuOpsOf)() {
  static const GpuOps ops = [] {
    GpuOps table;
    table.name = LETHE_TEXT(LETHE_ISA);
    table.deviceCount = [] { return deviceCount(); };
    table.measurePeaks = LETHE_PER_ISA(measureGpuPeaks);
    table.klom = LETHE_PER_ISA(klomOnGpu);
    table.marginsFromLogits = LETHE_PER_ISA(marginsFromLogitsOnGpu);
    table.spearman = LETHE_PER_ISA(spearmanOnGpu);
    table.train = &LETHE_PER_ISA(trainBackend)();
    table.openFit = LETHE_PER_ISA(openFitOnGpu);
    return table;
  }();
  return ops;
}

#ifndef LETHE_EMULATE_CUDA
const GpuOps* gpuOps() { return &gpuOpsOf_cuda(); }
#endif

}  // namespace lethe
