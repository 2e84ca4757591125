#include "core/lasso_design.h"

#include <algorithm>
#include <cstring>

#include "lethe/parallel.h"

namespace lethe {

namespace {

int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Bit (row r, column c) at 8r + c moves to 8c + r (Hacker's Delight, 7-3).
uint64_t transpose8x8(uint64_t x) {
  uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAull;
  x ^= t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCull;
  x ^= t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0ull;
  return x ^ t ^ (t << 28);
}

int32_t countBits(const uint64_t* words, int64_t count) {
  int32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += __builtin_popcountll(words[i]);
  return sum;
}

}  // namespace

LassoDesign::LassoDesign(const MaskView& masks, const std::vector<int32_t>& holdout, const LassoKernels& kernels) : kernels_(kernels) {
  std::vector<bool> heldOut(masks.numModels, false);
  for (int32_t model : holdout) heldOut[model] = true;
  const int64_t numHeldOut = std::count(heldOut.begin(), heldOut.end(), true), numFitted = masks.numModels - numHeldOut;
  holdoutFrom_ = roundUp(numFitted, 64);
  holdoutTo_ = holdoutFrom_ + numHeldOut;
  columns_.rows = holdoutFrom_ + roundUp(numHeldOut, 64);
  columns_.columns = masks.numTrain;
  modelOfRow_.assign(columns_.rows, -1);
  int64_t fittedRow = 0, heldOutRow = holdoutFrom_;
  for (int64_t model = 0; model < masks.numModels; ++model) {
    modelOfRow_[heldOut[model] ? heldOutRow++ : fittedRow++] = static_cast<int32_t>(model);
  }
  packColumns(masks);

  const int64_t words = columns_.rows / 64, fittedWords = holdoutFrom_ / 64;
  fitted_ = {numFitted, numFitted, holdoutFrom_, holdoutFrom_, holdoutFrom_, {}, {}, {}};
  for (int64_t j = 0; j < columns_.columns; ++j) fitted_.seen.push_back(countBits(bits_.data() + j * words, fittedWords));
  if (numHeldOut > 0) {
    all_ = {masks.numModels, numFitted, holdoutFrom_, holdoutTo_, columns_.rows, {}, {}, {}};
    for (int64_t j = 0; j < columns_.columns; ++j) all_.seen.push_back(countBits(bits_.data() + j * words, words));
  }
  for (RowSubset* subset : {&fitted_, &all_}) {
    for (int32_t seen : subset->seen) subset->share.push_back(static_cast<float>(seen) / static_cast<float>(subset->count));
  }
}

void LassoDesign::packColumns(const MaskView& masks) {
  bits_.assign(columns_.columns * columns_.rows / 64, 0);
  columns_.bits = reinterpret_cast<const uint8_t*>(bits_.data());
  uint8_t* to = reinterpret_cast<uint8_t*>(bits_.data());
  const int64_t rowBytes = (masks.numTrain + 7) / 8;
  for (int64_t row = 0; row < columns_.rows; row += 8) {
    for (int64_t byte = 0; byte < rowBytes; ++byte) {
      uint64_t block = 0;
      for (int64_t r = 0; r < 8; ++r) {
        const int32_t model = modelOfRow_[row + r];
        if (model >= 0) block |= static_cast<uint64_t>(masks.bits[model * rowBytes + byte]) << (8 * r);
      }
      block = transpose8x8(block);
      const int64_t end = std::min<int64_t>(8, masks.numTrain - 8 * byte);
      for (int64_t c = 0; c < end; ++c) to[(8 * byte + c) * columns_.stride() + row / 8] = static_cast<uint8_t>(block >> (8 * c));
    }
  }
}

void LassoDesign::precomputePairs(int threads, const TaskControl& control) {
  constexpr int64_t kTile = 64;
  const int64_t n = columns_.columns, tiles = (n + kTile - 1) / kTile;
  const bool split = holdoutFrom_ != columns_.rows;
  fitted_.pairs.resize(n * n);
  if (split) all_.pairs.resize(n * n);
  // a tile and its mirror image are written by the same task; tiles of different tasks do not overlap
  parallelFor(tiles, threads, [&](int64_t tile, int) {
    if (control.aborted()) return;
    const int64_t from = tile * kTile, to = std::min(from + kTile, n);
    std::vector<int32_t> list(n - from), fittedCounts(n - from), heldOutCounts(n - from, 0);
    for (int64_t k = from; k < n; ++k) list[k - from] = static_cast<int32_t>(k);
    for (int64_t j = from; j < to; ++j) {
      kernels_.pairCounts(columns_, 0, holdoutFrom_, static_cast<int32_t>(j), list.data(), n - from, fittedCounts.data());
      if (split) kernels_.pairCounts(columns_, holdoutFrom_, columns_.rows, static_cast<int32_t>(j), list.data(), n - from, heldOutCounts.data());
      for (int64_t k = from; k < n; ++k) {
        const int32_t inFitted = fittedCounts[k - from], inAll = inFitted + heldOutCounts[k - from];
        fitted_.pairs[j * n + k] = fitted_.pairs[k * n + j] = static_cast<uint16_t>(inFitted);
        if (split) all_.pairs[j * n + k] = all_.pairs[k * n + j] = static_cast<uint16_t>(inAll);
      }
    }
  });
}

void LassoDesign::gramRow(const RowSubset& subset, int32_t column, const int32_t* list, int64_t count, int32_t* counts, float* gram) const {
  if (subset.pairs.empty()) {
    kernels_.pairCounts(columns_, 0, subset.extent, column, list, count, counts);
  } else {
    const uint16_t* row = subset.pairs.data() + column * columns_.columns;
    for (int64_t k = 0; k < count; ++k) counts[k] = row[list[k]];
  }
  const float perModel = 1.0f / static_cast<float>(subset.count), share = subset.share[column];
  const float* shares = subset.share.data();
  for (int64_t k = 0; k < count; ++k) gram[k] = static_cast<float>(counts[k]) * perModel - share * shares[list[k]];
}

}  // namespace lethe
