#include "lethe/base/gpu_options.h"

#include <algorithm>
#include <string>

namespace lethe {

Status chooseDevices(const GpuOptions& options, int present, std::vector<int>& devices) {
  devices = options.devices;
  for (int device = 0; options.devices.empty() && device < present; ++device) devices.push_back(device);
  if (devices.empty()) {
    return Status::error("LETHE_GPU_UNAVAILABLE",
                         "expected an NVIDIA GPU with a working driver; received none. Use the CPU (--device cpu), or ask lethe doctor.");
  }
  for (const int device : devices) {
    if (device >= 0 && device < present && std::count(devices.begin(), devices.end(), device) == 1) continue;
    return Status::error("LETHE_GPU_UNAVAILABLE", "expected different GPUs, numbered from 0, of the " + std::to_string(present) + " there are; received " +
                                                      std::to_string(device) + ".");
  }
  return Status::success();
}

}  // namespace lethe
