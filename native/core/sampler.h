// The order in which a pass walks through an index set: a Fisher-Yates shuffle, done lazily, redrawn every epoch.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/random.h"

namespace lethe {

class Sampler {
 public:
  // Walks through the first `always` of [0, count) and `sample` of the others, drawn without replacement.
  Sampler(int64_t count, int64_t always, int64_t sample, Random random) : random_(random), order_(static_cast<size_t>(count)), size_(always + sample) {
    for (int64_t i = 0; i < count; ++i) order_[static_cast<size_t>(i)] = static_cast<int32_t>(i);
    if (size_ == count) return;
    for (int64_t i = always; i < size_; ++i) swapAhead(i, count);
  }

  int64_t remaining() const { return size_ - next_; }

  // Starts again with the same sample in a fresh order once it is used up.
  int32_t draw() {
    if (next_ == size_) next_ = 0;
    swapAhead(next_, size_);
    return order_[static_cast<size_t>(next_++)];
  }

 private:
  void swapAhead(int64_t at, int64_t end) {
    std::swap(order_[static_cast<size_t>(at)], order_[static_cast<size_t>(at + random_.below(static_cast<uint32_t>(end - at)))]);
  }

  Random random_;
  std::vector<int32_t> order_;
  int64_t size_, next_ = 0;
};

}  // namespace lethe
