// Device memory of the batched Lasso, planned on the host.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

namespace lethe {

// Pieces of one block of memory; first fit, freed neighbours merge. Offsets are multiples of 256.
class Arena {
 public:
  explicit Arena(int64_t bytes) {
    if (bytes > 0) free_[0] = bytes / 256 * 256;
  }
  // -1: no room.
  int64_t take(int64_t bytes) {
    const int64_t rounded = (bytes + 255) / 256 * 256;
    for (auto at = free_.begin(); at != free_.end(); ++at) {
      if (at->second < rounded) continue;
      const int64_t offset = at->first, left = at->second - rounded;
      free_.erase(at);
      if (left > 0) free_[offset + rounded] = left;
      return offset;
    }
    return -1;
  }
  void give(int64_t offset, int64_t bytes) {
    int64_t length = (bytes + 255) / 256 * 256;
    auto after = free_.lower_bound(offset);
    if (after != free_.end() && after->first == offset + length) {
      length += after->second;
      after = free_.erase(after);
    }
    if (after != free_.begin()) {
      auto before = after;
      --before;
      if (before->first + before->second == offset) {
        before->second += length;
        return;
      }
    }
    free_[offset] = length;
  }

 private:
  std::map<int64_t, int64_t> free_;  // offset: bytes
};

// What the workers of a device have in common: room for working sets, and the targets that were put back for want of it.
class Common {
 public:
  Common(int64_t arenaBytes, int64_t workers) : arenaBytes_(arenaBytes), arena_(arenaBytes), working_(workers) {}

  int64_t arenaBytes() const { return arenaBytes_; }
  // -1: no room.
  int64_t take(int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return arena_.take(bytes);
  }
  void give(int64_t offset, int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    arena_.give(offset, bytes);
  }
  void putBack(int64_t target) {
    const std::lock_guard<std::mutex> lock(mutex_);
    again_.push_front(target);
  }
  // Up to `most` that were put back.
  std::vector<int64_t> takeAgain(int64_t most) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<int64_t> targets;
    for (; !again_.empty() && static_cast<int64_t>(targets.size()) < most; again_.pop_front()) targets.push_back(again_.front());
    return targets;
  }
  // A worker that found no target ends, unless one has been put back since. False: it goes on.
  bool end() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!again_.empty()) return false;
    --working_;
    return true;
  }
  // A worker that has no room for its only target puts it back, with the memory it held, and ends, if others are left to do it. False: it is the
  // last, nothing has changed, and all memory but its own is free.
  bool giveUp(int64_t target, int64_t offset, int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (working_ == 1) return false;
    if (bytes > 0) arena_.give(offset, bytes);
    again_.push_front(target);
    --working_;
    return true;
  }

 private:
  int64_t arenaBytes_;
  std::mutex mutex_;
  Arena arena_;
  std::deque<int64_t> again_;
  int64_t working_;
};

// Members that a working set is made for when it needs `size`: powers of two from 64, so that a set moves seldom; never more than all columns.
inline int64_t capacityFor(int64_t size, int64_t columns) {
  int64_t capacity = 64;
  while (capacity < size) capacity *= 2;
  const int64_t most = (columns + 15) / 16 * 16;
  return capacity < most ? capacity : most;
}

struct MemoryPlan {
  int64_t slots = 0, arenaBytes = 0;
  int64_t neededBytes = 0;  // for one target; more than the budget: nothing fits
};

// Slots take at most a third of what the design leaves; the rest is for working sets.
inline MemoryPlan planMemory(int64_t budget, int64_t designBytes, int64_t slotBytes, int64_t setBytes, int64_t targets, int64_t mostSlots) {
  MemoryPlan plan;
  plan.neededBytes = designBytes + slotBytes + setBytes;
  if (plan.neededBytes > budget) return plan;
  const int64_t left = budget - designBytes, wanted = targets < mostSlots ? targets : mostSlots;
  const int64_t third = left / 3 / slotBytes;
  plan.slots = third < 1 ? 1 : third < wanted ? third : wanted;
  plan.arenaBytes = (left - plan.slots * slotBytes) / 256 * 256;
  return plan;
}

}  // namespace lethe
