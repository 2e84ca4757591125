// Device discovery. The addon is linked against the static runtime and loads without a driver.
#include <cuda_runtime.h>

#include "lethe/base/cuda_report.h"

namespace lethe {

CudaReport cudaReport() {
  CudaReport report;
  report.built = true;
  report.toolkit = std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
  int count = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    report.problem = cudaGetErrorString(error);
    cudaGetLastError();  // a failed query must not poison later calls
    return report;
  }
  int before = 0;
  cudaGetDevice(&before);
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    CudaDevice device;
    device.name = properties.name;
    device.major = properties.major;
    device.minor = properties.minor;
    device.totalBytes = static_cast<int64_t>(properties.totalGlobalMem);
    device.multiprocessors = properties.multiProcessorCount;
    size_t freeBytes = 0, totalBytes = 0;
    if (cudaSetDevice(index) == cudaSuccess && cudaMemGetInfo(&freeBytes, &totalBytes) == cudaSuccess) {
      device.freeBytes = static_cast<int64_t>(freeBytes);
    }
    report.devices.push_back(device);
  }
  cudaSetDevice(before);  // the calling thread's device stays what it was
  cudaGetLastError();     // of a device that could not be asked
  if (report.devices.empty()) report.problem = "the driver reports no device";
  return report;
}

}  // namespace lethe
