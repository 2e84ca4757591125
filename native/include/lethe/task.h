// What long-running core functions get from their caller: a way to report progress and a way to be told to stop.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>

namespace lethe {

struct TaskControl {
  // (done, total) in the op's own unit; may be called from any worker thread; must be cheap; may be empty
  std::function<void(double done, double total)> onProgress;
  // non-zero means stop soon; points into a caller's SharedArrayBuffer; may be null
  const std::atomic<int32_t>* abortFlag = nullptr;

  bool aborted() const { return abortFlag && abortFlag->load(std::memory_order_relaxed) != 0; }
  void report(double done, double total) const {
    if (onProgress) onProgress(done, total);
  }
};

}  // namespace lethe
