// Device memory of a fit: the design that all targets share, and what the targets in flight have of their own.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/lasso/design.h"
#include "cuda/lasso/path.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

inline int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

template <typename T>
T* pointer(const DeviceMemory& memory) {
  return static_cast<T*>(memory.data());
}

// The design in the memory of one GPU, which fits of many targets share.
class GpuDesign {
 public:
  // On the calling thread's GPU, of whose memory all may take `budget` bytes. numTargets: that will be fitted on it. Of no use when aborted.
  GpuDesign(const LassoDesign& design, const FitOptions& options, int64_t budget, int64_t numTargets, const TaskControl& control) : budget_(budget) {
    const int64_t n = design.columns().columns, rows = design.columns().rows, folds = design.numFolds();
    view_.columns = n;
    view_.words = roundUp(rows, kRowTile) / 32;
    view_.all = static_cast<int32_t>(folds);
    view_.standardise = options.standardise;
    view_.pairStride = roundUp(n, kPairTile);
    for (int64_t k = 0; k <= folds; ++k) {
      const RowSet& rowSet = k < folds ? design.withoutFold(k) : design.all();
      rowSets_.push_back({static_cast<int32_t>(rowSet.count), static_cast<int32_t>(rowSet.heldFrom), static_cast<int32_t>(rowSet.heldTo)});
      heldCapacity_ = std::max(heldCapacity_, rowSet.heldTo - rowSet.heldFrom);
    }
    bytes_ = roundUp(n * view_.words * 4, 256) + (folds + 1) * (view_.words + n) * 4 + 512;
    if (bytes_ > budget) {
      throw GpuError("LETHE_GPU_MEMORY_EXHAUSTED", "the masks do not fit on the GPU: expected at least " + std::to_string(bytes_) +
                                                       " bytes of its memory; may use " + std::to_string(budget) + ". Fit on the CPU.");
    }
    upload(design, control);
    if (options.estimator == Estimator::lasso) fillTables(folds == 0 || !options.refit ? std::max<int64_t>(folds, 1) : folds + 1, numTargets, control);
  }

  int64_t budget() const { return budget_; }
  int64_t bytes() const { return bytes_; }  // what it takes of the budget
  const DesignView& view() const { return view_; }
  const std::vector<DeviceRowSet>& rowSets() const { return rowSets_; }
  int64_t heldCapacity() const { return heldCapacity_; }

 private:
  void upload(const LassoDesign& design, const TaskControl& control) {
    const int64_t n = view_.columns, words = view_.words, sourceBytes = design.columns().rows / 8, rowSets = static_cast<int64_t>(rowSets_.size());
    bits_ = DeviceMemory(n * words * 4);
    rows_ = DeviceMemory(rowSets * words * 4);
    seen_ = DeviceMemory(rowSets * n * 4);
    constexpr int64_t kColumns = 4096;  // padded together
    std::vector<uint32_t> padded(static_cast<size_t>(std::min(kColumns, n) * words), 0);
    for (int64_t from = 0; from < n && !control.aborted(); from += kColumns) {
      const int64_t to = std::min(from + kColumns, n);
      for (int64_t j = from; j < to; ++j) {
        std::memcpy(padded.data() + (j - from) * words, design.columns().bits + j * sourceBytes, static_cast<size_t>(sourceBytes));
      }
      lethe::upload(pointer<uint32_t>(bits_) + from * words, padded.data(), (to - from) * words * 4);
    }
    for (int64_t k = 0; k < rowSets; ++k) {
      const RowSet& rowSet = k + 1 < rowSets ? design.withoutFold(k) : design.all();
      std::vector<uint32_t> inside(static_cast<size_t>(words), 0);
      for (size_t row = 0; row < rowSet.rowWeight.size(); ++row) {
        if (rowSet.rowWeight[row] != 0) inside[row / 32] |= 1u << (row % 32);
      }
      lethe::upload(pointer<uint32_t>(rows_) + k * words, inside.data(), words * 4);
      lethe::upload(pointer<int32_t>(seen_) + k * n, rowSet.seen.data(), n * 4);
    }
    view_.bits = pointer<uint32_t>(bits_);
    view_.rowSetRows = pointer<uint32_t>(rows_);
    view_.seen = pointer<int32_t>(seen_);
  }

  // Tables of all pairs of the row sets that paths use first. A table costs what counting pairs for so many targets does, with working sets of
  // a sixteenth of the models.
  void fillTables(int64_t rowSets, int64_t numTargets, const TaskControl& control) {
    const int64_t tableBytes = view_.columns * view_.pairStride * 2;
    const double ratio = 16.0 * static_cast<double>(view_.columns) / static_cast<double>(view_.rows());
    if (static_cast<double>(numTargets) < ratio * ratio) return;
    view_.tables = std::min(rowSets, (budget_ - bytes_) / 4 / tableBytes);
    if (view_.tables == 0) return;
    pairs_ = DeviceMemory(view_.tables * tableBytes);
    view_.pairs = pointer<uint16_t>(pairs_);
    for (int64_t k = 0; k < view_.tables && !control.aborted(); ++k) {
      countAllPairs(view_, static_cast<int32_t>(k), pointer<uint16_t>(pairs_) + k * view_.columns * view_.pairStride);
      synchronize();  // fits read it in streams of their own
    }
    bytes_ += view_.tables * tableBytes;
  }

  int64_t budget_, bytes_ = 0;
  DesignView view_;
  std::vector<DeviceRowSet> rowSets_;
  int64_t heldCapacity_ = 0;
  DeviceMemory bits_, rows_, seen_, pairs_;
};

// Device memory of so many slots, and of as many lanes.
class GpuSlots {
 public:
  GpuSlots(const DesignView& design, int64_t heldCapacity) : rows_(design.rows()), columns_(design.columns) { view_.heldCapacity = heldCapacity; }

  int64_t bytesOf(int64_t slots) const {
    const int64_t each = rows_ * 4 + (columns_ + 31) / 32 * 4 + 8 + view_.heldCapacity * 8 + rows_ * 8 + kMaxLimbs * rows_ + 16 + columns_ * 8;
    return slots * (each + static_cast<int64_t>(sizeof(Command) + sizeof(Outcome))) + 16 * 256;
  }

  void allocate(int64_t slots) {
    view_.raw = take<float>(slots * rows_);
    view_.member = take<uint32_t>(slots * ((columns_ + 31) / 32));
    view_.state = take<int32_t>(slots * 2);
    view_.heldOut = take<double>(slots * view_.heldCapacity);
    view_.residual = take<double>(slots * rows_);
    view_.limbs = take<int8_t>(slots * kMaxLimbs * rows_);
    view_.unit = take<double>(slots);
    view_.total = take<int64_t>(slots);
    view_.correlation = take<double>(slots * columns_);
    commands_ = take<Command>(slots);
    outcomes_ = take<Outcome>(slots);
  }

  const SlotsView& view() const { return view_; }
  Command* commands() const { return commands_; }
  Outcome* outcomes() const { return outcomes_; }

 private:
  template <typename T>
  T* take(int64_t count) {
    held_.emplace_back(count * static_cast<int64_t>(sizeof(T)));
    return pointer<T>(held_.back());
  }

  int64_t rows_, columns_;
  SlotsView view_;
  Command* commands_ = nullptr;
  Outcome* outcomes_ = nullptr;
  std::vector<DeviceMemory> held_;
};

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
