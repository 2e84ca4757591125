// What long-running core functions get from their caller: a way to report progress and ways to be told to stop.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>

namespace lethe {

struct TaskControl {
  // (done, total) in the op's own unit; may be called from any worker thread; must be cheap; may be empty
  std::function<void(double done, double total)> onProgress;
  // non-zero means stop soon: the caller's wish, in a SharedArrayBuffer, and the end of the caller itself; either may be null
  const std::atomic<int32_t>* abortFlag = nullptr;
  const std::atomic<int32_t>* endFlag = nullptr;

  bool aborted() const { return isSet(abortFlag) || isSet(endFlag); }
  void report(double done, double total) const {
    if (onProgress) onProgress(done, total);
  }

 private:
  static bool isSet(const std::atomic<int32_t>* flag) { return flag && flag->load(std::memory_order_relaxed) != 0; }
};

}  // namespace lethe
