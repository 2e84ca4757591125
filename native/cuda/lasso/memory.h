// Device memory of the batched Lasso, planned on the host.
#pragma once
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

namespace lethe {

// Pieces of one block of memory; first fit, freed neighbours merge. Offsets are multiples of 256.
class Pieces {
 public:
  explicit Pieces(int64_t bytes) {
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

// A target that waits for room, and the members that its working set will be made for.
struct Waiting {
  int64_t target = 0, capacity = 0;
};

// What the workers of a device have in common: room for working sets, and the targets that were put back for want of it. Who puts targets back
// stays until it finds none, so that none is forgotten.
class Common {
 public:
  explicit Common(int64_t piecesBytes) : arenaBytes_(piecesBytes), arena_(piecesBytes) {}

  int64_t piecesBytes() const { return arenaBytes_; }
  // -1: no room.
  int64_t take(int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return arena_.take(bytes);
  }
  void give(int64_t offset, int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    arena_.give(offset, bytes);
    ++numGiven_;
    given_.notify_all();
  }
  int64_t numGiven() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return numGiven_;
  }
  // Until room has been given back once more than numGiven() said, or stopped().
  template <typename Stopped>
  void waitForRoom(int64_t numGiven, const Stopped& stopped) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (numGiven_ == numGiven && !stopped()) given_.wait_for(lock, std::chrono::milliseconds(20));
  }
  void putBack(Waiting one) {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_front(one);
  }
  // Up to `most` that were put back.
  std::vector<Waiting> takeWaiting(int64_t most) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Waiting> taken;
    for (; !waiting_.empty() && static_cast<int64_t>(taken.size()) < most; waiting_.pop_front()) taken.push_back(waiting_.front());
    return taken;
  }

 private:
  int64_t arenaBytes_;
  std::mutex mutex_;
  std::condition_variable given_;
  Pieces arena_;
  int64_t numGiven_ = 0;
  std::deque<Waiting> waiting_;
};

// Members that a working set is made for when it needs `size`: powers of two from 64, so that a set moves seldom; never more than all columns.
inline int64_t capacityFor(int64_t size, int64_t columns) {
  int64_t capacity = 64;
  while (capacity < size) capacity *= 2;
  const int64_t most = (columns + 15) / 16 * 16;
  return capacity < most ? capacity : most;
}

struct MemoryPlan {
  int64_t slots = 0, piecesBytes = 0;
  int64_t neededBytes = 0;  // for one target; more than the budget: nothing fits
};

// Slots take at most a third of what the design leaves; the rest is for working sets, one of setBytes at least.
inline MemoryPlan planMemory(int64_t budget, int64_t designBytes, int64_t slotBytes, int64_t setBytes, int64_t targets, int64_t mostSlots) {
  MemoryPlan plan;
  plan.neededBytes = designBytes + slotBytes + setBytes;
  if (plan.neededBytes > budget) return plan;
  const int64_t left = budget - designBytes, wanted = targets < mostSlots ? targets : mostSlots;
  const int64_t third = std::min(left / 3 / slotBytes, (left - setBytes) / slotBytes);
  plan.slots = third < 1 ? 1 : third < wanted ? third : wanted;
  plan.piecesBytes = (left - plan.slots * slotBytes) / 256 * 256;
  return plan;
}

}  // namespace lethe
