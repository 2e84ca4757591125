// A GPU call that failed. Thrown by native/cuda, caught by the drivers that call it: what they return is a Status.
#pragma once
#include <stdexcept>
#include <string>

#include "lethe/base/status.h"

namespace lethe {

class GpuError : public std::runtime_error {
 public:
  GpuError(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}
  Status status() const { return Status::error(code_, what()); }

 private:
  std::string code_;  // LETHE_GPU_MEMORY_EXHAUSTED, LETHE_GPU_FAILED
};

}  // namespace lethe
