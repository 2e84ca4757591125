// A queue of models for the workers of one call: threads of the host, each with the device that it trains on.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "lethe/base/gpu_error.h"
#include "lethe/base/limits.h"
#include "lethe/base/parallel.h"
#include "lethe/base/status.h"
#include "lethe/base/task.h"
#include "lethe/gpu_ops.h"
#include "lethe/train/backend.h"

namespace lethe {

struct Workers {
  const TrainBackend* backend = nullptr;
  std::vector<int> devices;  // of each worker
};

struct WorkerNeeds {
  int64_t items = 0;        // of the queue: more workers have nothing to do
  int threads = 0;          // workers; 0: every processor, or 16 for each GPU
  int64_t workerBytes = 0;  // of device memory for each worker
  int64_t deviceBytes = 0;  // shared by the workers of a device
};

// gpu: null for the CPU. On GPUs workers take turns over the devices and never more than fit into their memory.
// LETHE_GPU_UNAVAILABLE, LETHE_GPU_MEMORY_EXHAUSTED, LETHE_GPU_FAILED.
Status planWorkers(const TrainBackend& backend, const GpuOps* gpu, const GpuOptions& options, const WorkerNeeds& needs, Workers& workers);

// The first error of several threads.
class FirstError {
 public:
  void record(Status status) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failed_.exchange(true)) status_ = std::move(status);
  }
  bool failed() const { return failed_.load(); }
  const Status& status() const { return status_; }  // once all threads are done

 private:
  std::mutex mutex_;
  std::atomic<bool> failed_{false};
  Status status_;
};

// Runs body(item, worker's state) on the queue, with a state per worker made on its own thread; what fails in one ends the call.
template <typename State>
Status runQueue(int64_t items, const Workers& workers, const TaskControl& control, const std::function<std::unique_ptr<State>(int device)>& make,
                const std::function<void(int64_t, State&)>& body) {
  const int count = static_cast<int>(workers.devices.size());
  std::atomic<int64_t> next{0};
  FirstError error;
  parallelFor(count, count, [&](int64_t worker, int) {
    try {
      const int device = workers.devices[static_cast<size_t>(worker)];
      const DeviceUse use(*workers.backend, device);
      std::unique_ptr<State> state;
      while (!error.failed() && !control.aborted()) {
        const int64_t item = next.fetch_add(1);
        if (item >= items) break;
        if (!state) state = make(device);
        body(item, *state);
      }
    } catch (const GpuError& failure) {
      error.record(failure.status());
    } catch (const std::bad_alloc&) {
      error.record(memoryExhausted("the buffers of " + std::to_string(count) + " models"));
    }
  });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "stopped on request before all models were done.");
  return error.failed() ? error.status() : Status::success();
}

}  // namespace lethe
