// Host ops on one or several GPUs: independent items (points, rows) split among the devices, and by what fits into their memory.
#pragma once
#include <algorithm>
#include <atomic>
#include <new>
#include <string>
#include <vector>

#include "cuda/base/compiler.h"
#include "lethe/base/gpu_options.h"
#include "lethe/base/limits.h"
#include "lethe/base/parallel.h"
#include "lethe/base/task.h"

namespace lethe {
inline namespace LETHE_ISA {

// Memory an op may take of the calling thread's device.
inline int64_t memoryOf(const GpuOptions& options) { return options.memoryBytes > 0 ? options.memoryBytes : freeDeviceBytes() / 10 * 9; }

// Items of a block: as many as fit beside `fixedBytes`, at most `most`, a multiple of `unit` unless all fit. Throws
// LETHE_GPU_MEMORY_EXHAUSTED where not even one unit does.
inline int64_t itemsThatFit(int64_t items, int64_t unit, int64_t most, int64_t fixedBytes, int64_t bytesPerItem, int64_t memoryBytes) {
  const int64_t room = std::min((memoryBytes - fixedBytes) / bytesPerItem, most);
  if (room >= items) return items;
  if (memoryBytes > fixedBytes && room >= unit) return room / unit * unit;
  throw GpuError("LETHE_GPU_MEMORY_EXHAUSTED", "expected at least " + std::to_string(fixedBytes + std::min(unit, items) * bytesPerItem) +
                                                   " bytes of GPU memory; received a limit of " + std::to_string(memoryBytes) +
                                                   ". Raise the limit, free the GPU, or use the CPU (--device cpu).");
}

// Calls work(k) for every device on a stream of its own and, as far as there are threads, a host thread of its own; failed() where it
// throws. The error of the first device that has one is the result.
template <typename Work, typename Failed>
Status onDevices(const std::vector<int>& devices, const Work& work, const Failed& failed) {
  std::vector<Status> results(devices.size());
  const auto run = [&](size_t k) {
    try {
      useDevice(devices[k]);
      const Stream stream;
      work(k);
    } catch (const GpuError& error) {
      results[k] = error.status();
    } catch (const std::bad_alloc&) {
      results[k] = memoryExhausted("what the host keeps of an op on the GPU");
    }
    if (!results[k].ok()) failed();
  };
  const int64_t count = static_cast<int64_t>(devices.size());
  parallelFor(count, static_cast<int>(count), [&](int64_t k, int) { run(static_cast<size_t>(k)); });
  for (const Status& result : results) {
    if (!result.ok()) return result;
  }
  return Status::success();
}

// Calls share(begin, end, done) on a thread, device and stream each, for neighbouring parts of [0, items); done(count) reports finished
// items and returns false when the op should stop.
template <typename Share>
Status overDevices(const GpuOptions& options, int64_t items, const TaskControl& control, const Share& share) {
  std::vector<int> devices;
  const Status chosen = chooseDevices(options, deviceCount(), devices);
  if (!chosen.ok()) return chosen;
  const int64_t parts = static_cast<int64_t>(devices.size());
  std::atomic<int64_t> finished{0};
  std::atomic<bool> failed{false};
  const auto done = [&](int64_t count) {
    if (count > 0) control.report(static_cast<double>(finished += count), static_cast<double>(items));
    return !control.aborted() && !failed.load();
  };
  const auto work = [&](size_t k) {
    const int64_t part = static_cast<int64_t>(k), begin = items * part / parts, end = items * (part + 1) / parts;
    if (begin < end && done(0)) share(begin, end, done);
  };
  const Status result = onDevices(devices, work, [&] { failed.store(true); });
  if (!result.ok()) return result;
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "stopped on request before everything was done.");
  return Status::success();
}

}  // namespace LETHE_ISA
}  // namespace lethe
