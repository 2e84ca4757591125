// Where networks train: a set of kernels and the memory that they work on, of a CPU level or of the GPU. The driver in core/ is the same.
#pragma once
#include <cstdint>
#include <functional>

#include "lethe/train/kernels.h"

namespace lethe {

// Functions and kernels of a GPU throw GpuError (include/lethe/base/gpu_error.h), those of a CPU std::bad_alloc.
struct TrainBackend {
  const TrainKernels* fp32 = nullptr;
  const ImageKernels<Bf16>* bf16 = nullptr;

  bool hostMemory = true;     // kernels work on the host's memory and have finished when they return
  int64_t evalBatch = 64;     // fixed, so that logits never depend on a job's batch size
  int64_t stepsPerLook = 1;   // steps between looks at whether the epoch diverged: each look waits for the steps
  int64_t workerBytes = 0;    // what a worker takes besides its buffers

  // Calls of kernels and all below but release lie between enter and leave of the same thread.
  void* (*enter)(int device) = nullptr;
  void (*leave)(void* entered) = nullptr;
  int64_t (*freeBytes)() = nullptr;  // of the thread's device

  // Zeroed memory at *data, aligned to 64 bytes at least; what is returned releases it.
  void* (*allocate)(int64_t bytes, uint8_t** data) = nullptr;
  void (*release)(void* allocated) = nullptr;
  // In the order of kernels. The host's memory may be reused at once after upload, and holds the values after download.
  void (*upload)(void* to, const void* from, int64_t bytes) = nullptr;
  void (*download)(void* to, const void* from, int64_t bytes) = nullptr;
  void (*clear)(void* memory, int64_t bytes) = nullptr;

  // Kernels that body calls are recorded and not run; each must have run before with arguments of the same sizes. replay runs them again in
  // order, on the memory they were called with; null: nothing is gained by that.
  void* (*record)(const std::function<void()>& body) = nullptr;
  void (*replay)(void* recording) = nullptr;
  void (*releaseRecording)(void* recording) = nullptr;
};

// The level must be available (resolveIsa).
const TrainBackend& cpuBackend(Isa isa);

// The calling thread's use of a device.
class DeviceUse {
 public:
  DeviceUse(const TrainBackend& backend, int device) : backend_(backend), entered_(backend.enter(device)) {}
  ~DeviceUse() { backend_.leave(entered_); }
  DeviceUse(const DeviceUse&) = delete;
  DeviceUse& operator=(const DeviceUse&) = delete;

 private:
  const TrainBackend& backend_;
  void* entered_;
};

// Zeroed memory of a backend.
class Arena {
 public:
  Arena(const TrainBackend& backend, int64_t bytes) : backend_(backend), allocated_(bytes > 0 ? backend.allocate(bytes, &data_) : nullptr) {}
  ~Arena() {
    if (allocated_) backend_.release(allocated_);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  uint8_t* data() const { return data_; }

 private:
  const TrainBackend& backend_;
  uint8_t* data_ = nullptr;
  void* allocated_;
};

// Values of the host where kernels can read them: as they are, or a copy.
class Upload {
 public:
  Upload(const TrainBackend& backend, int64_t maxBytes) : backend_(backend), copy_(backend, backend.hostMemory ? 0 : maxBytes) {}

  // Valid until the next call, and while `host` is.
  template <typename T>
  const T* send(const T* host, int64_t count) {
    if (backend_.hostMemory) return host;
    backend_.upload(copy_.data(), host, count * static_cast<int64_t>(sizeof(T)));
    return reinterpret_cast<const T*>(copy_.data());
  }

 private:
  const TrainBackend& backend_;
  Arena copy_;
};

}  // namespace lethe
