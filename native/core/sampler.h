// The order in which a pass walks through an index set: a Fisher-Yates shuffle, done lazily, redrawn every epoch.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/random.h"

namespace lethe {

class Sampler {
 public:
  // Walks through `sample` of [0, count), drawn without replacement by `random`.
  Sampler(int64_t count, int64_t sample, Random random) : random_(random), order_(static_cast<size_t>(count)), sample_(sample), pool_(count) {
    for (int64_t i = 0; i < count; ++i) order_[static_cast<size_t>(i)] = static_cast<int32_t>(i);
  }

  int64_t remaining() const { return sample_ - next_; }

  // Starts again with the same sample in a fresh order once it is used up.
  int32_t draw() {
    if (next_ == sample_) {
      next_ = 0;
      pool_ = sample_;
    }
    const size_t at = static_cast<size_t>(next_), from = at + random_.below(static_cast<uint32_t>(pool_ - next_));
    std::swap(order_[at], order_[from]);
    ++next_;
    return order_[at];
  }

 private:
  Random random_;
  std::vector<int32_t> order_;
  int64_t sample_, pool_, next_ = 0;
};

}  // namespace lethe
