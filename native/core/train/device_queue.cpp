#include "core/train/device_queue.h"

#include <algorithm>
#include <string>

namespace lethe {

namespace {

Status exhausted(const WorkerNeeds& needs, int64_t budget) {
  return Status::error("LETHE_GPU_MEMORY_EXHAUSTED", "expected room for " + std::to_string(needs.deviceBytes + needs.workerBytes) + " bytes on the GPU (" +
                                                         std::to_string(needs.deviceBytes) + " of the data set and " + std::to_string(needs.workerBytes) +
                                                         " of one model); received " + std::to_string(budget) +
                                                         ". Use a smaller batch, a narrower network, or --device cpu.");
}

}  // namespace

Status planWorkers(const TrainBackend& backend, const GpuOps* gpu, const GpuOptions& options, const WorkerNeeds& needs, Workers& workers) {
  workers.backend = &backend;
  workers.devices.clear();
  if (!gpu) {
    const int64_t threads = needs.threads > 0 ? needs.threads : allowedThreads();
    workers.devices.assign(static_cast<size_t>(std::min(threads, needs.items)), 0);
    return Status::success();
  }
  std::vector<int> devices;
  const Status status = chooseDevices(options, gpu->deviceCount(), devices);
  if (!status.ok()) return status;
  std::vector<int64_t> room;  // workers that fit a device
  int64_t most = 0, total = 0, budget = 0;
  for (const int device : devices) {
    try {
      const DeviceUse use(backend, device);
      budget = options.memoryBytes > 0 ? options.memoryBytes : backend.freeBytes() / 10 * 9;
    } catch (const GpuError& failure) {
      return failure.status();
    }
    room.push_back(std::max<int64_t>(0, budget - needs.deviceBytes) / needs.workerBytes);
    most = std::max(most, room.back());
    total += room.back();
  }
  if (total == 0 && needs.items > 0) return exhausted(needs, budget);
  const int64_t wanted = needs.threads > 0 ? needs.threads : kModelsPerGpu * static_cast<int64_t>(devices.size());
  const int64_t count = std::min({wanted, total, needs.items});
  for (int64_t turn = 0; turn < most && static_cast<int64_t>(workers.devices.size()) < count; ++turn) {
    for (size_t d = 0; d < devices.size() && static_cast<int64_t>(workers.devices.size()) < count; ++d) {
      if (turn < room[d]) workers.devices.push_back(devices[d]);
    }
  }
  return Status::success();
}

}  // namespace lethe
