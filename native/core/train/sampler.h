// The order in which a pass walks through an index set, and how it places each image.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/base/random.h"
#include "lethe/train/train.h"

namespace lethe {

// A Fisher-Yates shuffle, done lazily, redrawn every epoch.
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

// Placements of the images of a term, in the order in which the epoch draws them. Image k takes the four words of Philox block k of
// Random(seed, Purpose::augment, modelIndex, stream), stream = 256 * epoch + 16 * pass + term, as they are: with p = cropPadding,
//   down = floor(word 0 * (2p + 1) / 2^32) - p, right = floor(word 1 * (2p + 1) / 2^32) - p, flip = top bit of word 2, word 3 unused;
// so that any image's placement can be computed alone, and crops are the same with and without flips.
class Placer {
 public:
  Placer(const Augmentation& augmentation, Random random) : augmentation_(augmentation), random_(random) {}

  bool active() const { return augmentation_.cropPadding > 0 || augmentation_.flip; }

  ImagePlacement next() {
    const int32_t down = offset(random_.next()), right = offset(random_.next());
    const uint32_t side = random_.next();
    random_.next();
    return {down, right, augmentation_.flip && side >> 31 != 0};
  }

 private:
  int32_t offset(uint32_t word) const {
    const uint64_t choices = static_cast<uint64_t>(2 * augmentation_.cropPadding + 1);
    return static_cast<int32_t>(static_cast<int64_t>((word * choices) >> 32) - augmentation_.cropPadding);
  }

  Augmentation augmentation_;
  Random random_;
};

}  // namespace lethe
