// What the CUDA build can see. Compiled without nvcc, cudaBuilt() is false and nothing else is linked.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace lethe {

struct CudaDevice {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int64_t totalBytes = 0, freeBytes = 0;
  int multiprocessors = 0;
};

struct CudaReport {
  bool built = false;         // this addon contains the CUDA backend
  std::string toolkit;        // version it was built with, e.g. "13.0"
  std::string problem;        // why no device can be used; empty when devices are listed
  std::vector<CudaDevice> devices;
};

// Never fails: without a driver or a device, `problem` says so.
CudaReport cudaReport();

}  // namespace lethe
