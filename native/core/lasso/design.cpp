#include "core/lasso/design.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <new>

#include "lethe/base/parallel.h"

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

HugeBytes allocateHuge(int64_t bytes) {
  constexpr size_t kPage = size_t{2} << 20;
  const size_t rounded = static_cast<size_t>(roundUp(bytes, kPage));
  void* at = std::aligned_alloc(kPage, rounded);
  if (!at) throw std::bad_alloc();
  madvise(at, rounded, MADV_HUGEPAGE);  // only a hint
  return HugeBytes(static_cast<uint8_t*>(at));
}

}  // namespace

LassoDesign::LassoDesign(const MaskView& masks, const FitOptions& options, Isa isa)
    : isa_(isa),
      kernels_(lassoKernels(isa)),
      refit_(options.refit || options.fold.empty() || options.pooled),
      pooled_(options.pooled),
      numModels_(masks.numModels) {
  orderRows(masks, options.fold);
  packColumns(masks);
  all_.rowWeight.resize(columns_.rows);
  for (int64_t row = 0; row < columns_.rows; ++row) all_.rowWeight[row] = modelOfRow_[row] < 0 ? 0.0f : 1.0f;
  for (size_t k = 0; k + 1 < foldFrom_.size(); ++k) {
    RowSet rowSet;
    rowSet.rowWeight = all_.rowWeight;
    rowSet.heldFrom = foldFrom_[k];
    rowSet.heldTo = foldFrom_[k + 1];
    std::fill(rowSet.rowWeight.begin() + rowSet.heldFrom, rowSet.rowWeight.begin() + rowSet.heldTo, 0.0f);
    describeRows(rowSet);
    folds_.push_back(std::move(rowSet));
  }
  describeRows(all_);
}

// The models of a fold side by side, whole words of bits each, those that are never held out first.
void LassoDesign::orderRows(const MaskView& masks, const std::vector<int32_t>& fold) {
  const int32_t numFolds = fold.empty() ? 0 : *std::max_element(fold.begin(), fold.end()) + 1;
  for (int32_t k = -1; k < numFolds; ++k) {
    if (k >= 0) foldFrom_.push_back(static_cast<int64_t>(modelOfRow_.size()));
    for (int64_t model = 0; model < masks.numModels; ++model) {
      if ((fold.empty() ? -1 : fold[model]) == k) modelOfRow_.push_back(static_cast<int32_t>(model));
    }
    modelOfRow_.resize(roundUp(static_cast<int64_t>(modelOfRow_.size()), 64), -1);
  }
  if (numFolds > 0) foldFrom_.push_back(static_cast<int64_t>(modelOfRow_.size()));
  columns_.rows = static_cast<int64_t>(modelOfRow_.size());
  columns_.columns = masks.numTrain;
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
  const int64_t words = columns_.rows / 64, n = columns_.columns;
  blocks_.resize(bits_.size());
  constexpr int64_t kTile = 64;  // columns whose words are taken apart together
  for (int64_t from = 0; from < n; from += kTile) {
    for (int64_t b = 0; b < words; ++b) {
      for (int64_t j = from; j < std::min(from + kTile, n); ++j) blocks_[b * n + j] = bits_[j * words + b];
    }
  }
}

void LassoDesign::describeRows(RowSet& rowSet) const {
  const int64_t rows = columns_.rows, n = columns_.columns;
  int64_t largest = 0;
  rowSet.count = 0;
  for (float weight : rowSet.rowWeight) {
    rowSet.count += static_cast<int64_t>(weight);
    largest = std::max(largest, static_cast<int64_t>(weight));
  }
  rowSet.extent = rows;
  while (rowSet.extent > 64 &&
         std::all_of(rowSet.rowWeight.begin() + rowSet.extent - 64, rowSet.rowWeight.begin() + rowSet.extent, [](float weight) { return weight == 0; })) {
    rowSet.extent -= 64;
  }
  rowSet.planes.clear();
  for (int64_t bit = 1; bit <= std::max<int64_t>(largest, 1); bit *= 2) {
    std::vector<uint64_t> plane(rows / 64, 0);
    for (int64_t row = 0; row < rows; ++row) {
      if (static_cast<int64_t>(rowSet.rowWeight[row]) & bit) plane[row / 64] |= uint64_t{1} << (row % 64);
    }
    rowSet.planes.push_back(std::move(plane));
  }
  rowSet.seen.assign(n, 0);
  std::vector<int32_t> counts(n), list(n);
  for (int64_t j = 0; j < n; ++j) list[j] = static_cast<int32_t>(j);
  for (size_t bit = 0; bit < rowSet.planes.size(); ++bit) {
    kernels_.pairCounts(columns_, rowSet.planes[bit].data(), list.data(), n, counts.data());
    for (int64_t j = 0; j < n; ++j) rowSet.seen[j] += counts[j] << bit;
  }
  double total = 0;
  for (int32_t seen : rowSet.seen) total += seen;
  const double count = static_cast<double>(std::max<int64_t>(rowSet.count, 1)), share = total / (count * static_cast<double>(n));
  rowSet.base.resize(n);
  rowSet.phi.resize(n);
  rowSet.psi.resize(n);
  rowSet.diagonal.resize(n);
  for (int64_t j = 0; j < n; ++j) {
    // seen_j seen_k / count = near_j + near_k + psi_j psi_k, and near_j is rounded to the whole number base_j
    const double seen = rowSet.seen[j], near = share * seen - share * share * count / 2;
    rowSet.base[j] = static_cast<int32_t>(std::lrint(near));
    rowSet.phi[j] = static_cast<float>(rowSet.base[j] - near);
    rowSet.psi[j] = static_cast<float>((seen - share * count) / std::sqrt(count));
    rowSet.diagonal[j] = static_cast<float>(seen - seen * seen / count);
  }
}

RowSet LassoDesign::weighted(const RowSet& rowSet, const uint8_t* weights, int64_t stride) const {
  RowSet result;
  result.heldFrom = rowSet.heldFrom;
  result.heldTo = rowSet.heldTo;
  result.rowWeight = rowSet.rowWeight;
  for (int64_t row = 0; row < columns_.rows; ++row) {
    if (modelOfRow_[row] >= 0) result.rowWeight[row] *= static_cast<float>(weights[modelOfRow_[row] * stride]);
  }
  describeRows(result);
  return result;
}

void LassoDesign::fillTables(int64_t bytes, int threads, const TaskControl& control) {
  const int64_t n = columns_.columns;
  std::vector<RowSet*> wanted;
  for (RowSet& rowSet : folds_) wanted.push_back(&rowSet);
  if (refit_) wanted.push_back(&all_);
  for (RowSet* rowSet : wanted) {
    if (n * n > bytes || control.aborted()) return;
    if (fillTable<int8_t>(*rowSet, threads, control)) {
      bytes -= n * n;
    } else if (2 * n * n <= bytes && fillTable<int16_t>(*rowSet, threads, control)) {
      bytes -= 2 * n * n;
    }
  }
}

// False when an entry does not fit.
template <typename Entry>
bool LassoDesign::fillTable(RowSet& rowSet, int threads, const TaskControl& control) const {
  constexpr int64_t kTile = 64;
  const int64_t n = columns_.columns, tiles = (n + kTile - 1) / kTile;
  HugeBytes bytes = allocateHuge(n * n * static_cast<int64_t>(sizeof(Entry)));
  Entry* table = reinterpret_cast<Entry*>(bytes.get());
  std::atomic<bool> fits{true};
  rowSet.table = GramTable{};
  // a tile and its mirror image are written by the same task; tiles of different tasks do not overlap
  parallelFor(tiles, threads, [&](int64_t tile, int) {
    if (control.aborted() || !fits) return;
    const int64_t from = tile * kTile, to = std::min(from + kTile, n);
    std::vector<int32_t> list(kTile), counts(kTile);
    for (int64_t block = from; block < n; block += kTile) {
      const int64_t end = std::min(block + kTile, n);
      for (int64_t k = block; k < end; ++k) list[k - block] = static_cast<int32_t>(k);
      for (int64_t j = from; j < to; ++j) {
        countPairs(rowSet, static_cast<int32_t>(j), list.data(), end - block, counts.data());
        for (int64_t k = block; k < end; ++k) {
          const int32_t d = j == k ? 0 : counts[k - block] - rowSet.base[j] - rowSet.base[k];
          if (d != static_cast<Entry>(d)) fits = false;
          table[j * n + k] = table[k * n + j] = static_cast<Entry>(d);
        }
      }
    }
  });
  if (!fits || control.aborted()) return false;
  rowSet.table = {sizeof(Entry), std::move(bytes)};
  return true;
}

void LassoDesign::countPairs(const RowSet& rowSet, int32_t column, const int32_t* list, int64_t count, int32_t* counts) const {
  const int64_t words = columns_.rows / 64;
  const uint64_t* own = bits_.data() + column * words;
  thread_local std::vector<uint64_t> kept;
  thread_local std::vector<int32_t> part;
  kept.resize(words);
  part.resize(count);
  for (size_t bit = 0; bit < rowSet.planes.size(); ++bit) {
    for (int64_t w = 0; w < words; ++w) kept[w] = own[w] & rowSet.planes[bit][w];
    int32_t* into = bit == 0 ? counts : part.data();
    kernels_.pairCounts(columns_, kept.data(), list, count, into);
    if (bit == 0) continue;
    for (int64_t k = 0; k < count; ++k) counts[k] += part[k] << bit;
  }
}

void LassoDesign::gramRow(const RowSet& rowSet, int32_t column, const int32_t* list, int64_t count, int32_t*, int8_t* entries) const {
  const int8_t* row = reinterpret_cast<const int8_t*>(rowSet.table.entries.get()) + column * columns_.columns;
  for (int64_t k = 0; k < count; ++k) entries[k] = row[list[k]];
}

void LassoDesign::gramRow(const RowSet& rowSet, int32_t column, const int32_t* list, int64_t count, int32_t* counts, int16_t* entries) const {
  if (rowSet.table.entryBytes == 2) {
    const int16_t* row = reinterpret_cast<const int16_t*>(rowSet.table.entries.get()) + column * columns_.columns;
    for (int64_t k = 0; k < count; ++k) entries[k] = row[list[k]];
    return;
  }
  countPairs(rowSet, column, list, count, counts);
  const int32_t base = rowSet.base[column];
  for (int64_t k = 0; k < count; ++k) {
    entries[k] = list[k] == column ? int16_t{0} : static_cast<int16_t>(counts[k] - base - rowSet.base[list[k]]);
  }
}

void LassoDesign::prefetchGramRow(const RowSet& rowSet, int32_t column) const {
  const int64_t rowBytes = columns_.columns * rowSet.table.entryBytes;
  const uint8_t* row = rowSet.table.entries.get() + column * rowBytes;
  for (int64_t at = 0; at < rowBytes; at += 64) __builtin_prefetch(row + at, 0, 2);
}

int64_t LassoDesign::bytes() const {
  const int64_t n = columns_.columns;
  int64_t total = static_cast<int64_t>(bits_.size() + blocks_.size()) * 8 + n * 20 * (1 + numFolds());
  total += n * n * all_.table.entryBytes;
  for (const RowSet& rowSet : folds_) total += n * n * rowSet.table.entryBytes;
  return total;
}

}  // namespace lethe
