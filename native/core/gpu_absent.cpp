// The answer of a build without nvcc; native/cuda/base/device.cu is the other one.
#ifndef LETHE_HAS_CUDA
#include "lethe/base/cuda_report.h"
#include "lethe/gpu_ops.h"

namespace lethe {

CudaReport cudaReport() {
  CudaReport report;
  report.problem = "this addon was built without CUDA (no nvcc was found, or LETHE_CUDA=OFF)";
  return report;
}

const GpuOps* gpuOps() { return nullptr; }

}  // namespace lethe
#endif
