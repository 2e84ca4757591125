// How targets of a fit are solved on one device.
#pragma once
#include <memory>

#include "cuda/lasso/buffers.h"
#include "cuda/lasso/shared.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

// One device's part of a fit: made on a thread that uses the device, ended where none of its workers runs.
class DeviceFit {
 public:
  virtual ~DeviceFit() = default;
  virtual int numWorkers() const = 0;
  // Takes targets from the queue until none is left, or the fit is stopped or aborted. Called once by each worker: a host thread with a stream.
  virtual void run() = 0;
};

// The Lasso, all of it on the device. No row weights.
std::unique_ptr<DeviceFit> fitOnDevice(Shared& shared, const GpuDesign& design, int device);

// The processor's own solvers (core/lasso/target.h) on the host's threads; the device gives them the correlations of their residuals with
// all columns. For the marginal estimator, which needs little else, and for row weights, with which every target has Gram counts of its own.
std::unique_ptr<DeviceFit> fitOnHost(Shared& shared, const GpuDesign& design, int device);

inline GpuError outOfMemory(int device, int64_t neededBytes, int64_t budget) {
  return GpuError("LETHE_GPU_MEMORY_EXHAUSTED", "a datamodel fit does not fit on GPU " + std::to_string(device) + ": expected at least " +
                                                    std::to_string(neededBytes) + " bytes of its memory; may use " + std::to_string(budget) +
                                                    ". Fit on the CPU.");
}

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
