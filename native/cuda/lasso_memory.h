// Device memory of the batched Lasso, planned on the host.
#pragma once
#include <cstdint>
#include <map>

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
