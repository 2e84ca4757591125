// The design all targets of a fit share: masks as bits with the models of a fold side by side, and exact Gram counts.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "lethe/lasso/fit.h"
#include "lethe/lasso/kernels.h"

namespace lethe {

// Pages are asked to be huge: a Gram table is read a random row at a time.
struct FreeDeleter {
  void operator()(void* at) const { std::free(at); }
};
typedef std::unique_ptr<uint8_t[], FreeDeleter> HugeBytes;

// Whole numbers d with (models that saw j and k) = d[j, k] + base[j] + base[k], so small that they fit in 8 or 16 bits; d[j, j] = 0.
struct GramTable {
  int entryBytes = 0;  // 0: no table
  HugeBytes entries;   // (columns, columns) int8_t or int16_t
};

// The models of a fit, with what all its Gram entries need: in counts of models, for j != k,
//   H_jk = d[j, k] + phi[j] + phi[k] - psi[j] * psi[k] = pairs(j, k) - seen[j] * seen[k] / count.
struct RowSet {
  int64_t count = 0;                      // models, each counted as often as it weighs
  int64_t heldFrom = 0, heldTo = 0;       // held-out rows, a multiple of 64 on both sides; equal: none
  int64_t extent = 0;                     // rows [0, extent), a multiple of 64, hold all models of the fit
  std::vector<float> rowWeight;           // (rows) 0 for held-out models and padding
  std::vector<std::vector<uint64_t>> planes;  // bit planes of rowWeight, each (rows / 64)
  std::vector<int32_t> seen, base;        // (columns) models that saw example j
  std::vector<float> phi, psi, diagonal;  // (columns) diagonal: H_jj
  GramTable table;

  bool constant(int32_t column) const { return seen[column] == 0 || seen[column] == count; }
};

class LassoDesign {
 public:
  LassoDesign(const MaskView& masks, const FitOptions& options, Isa isa);

  // Fills tables of Gram counts while they fit in the bytes; worth it when many targets share the design. Returns early when aborted.
  void fillTables(int64_t bytes, int threads, const TaskControl& control);

  // The same rows with weights: (numModels, stride) at [i * stride]. No table.
  RowSet weighted(const RowSet& rowSet, const uint8_t* weights, int64_t stride) const;

  // entries[k] = d[column, list[k]], k < count, from the table or the bits. counts: (count) scratch.
  void gramRow(const RowSet& rowSet, int32_t column, const int32_t* list, int64_t count, int32_t* counts, int8_t* entries) const;
  void gramRow(const RowSet& rowSet, int32_t column, const int32_t* list, int64_t count, int32_t* counts, int16_t* entries) const;

  // Fetches a row of the table, if there is one, towards the processor.
  void prefetchGramRow(const RowSet& rowSet, int32_t column) const;

  Isa isa() const { return isa_; }
  const LassoKernels& kernels() const { return kernels_; }
  const BitColumns& columns() const { return columns_; }
  BitBlocks blocks() const { return {blocks_.data(), columns_.columns}; }
  int64_t numModels() const { return numModels_; }
  int64_t numFolds() const { return static_cast<int64_t>(folds_.size()); }
  const RowSet& withoutFold(int64_t k) const { return folds_[k]; }
  const RowSet& all() const { return all_; }
  const std::vector<int32_t>& modelOfRow() const { return modelOfRow_; }  // (rows) -1: padding
  int64_t bytes() const;

 private:
  void orderRows(const MaskView& masks, const std::vector<int32_t>& fold);
  void packColumns(const MaskView& masks);
  void describeRows(RowSet& rowSet) const;
  template <typename Entry>
  bool fillTable(RowSet& rowSet, int threads, const TaskControl& control) const;
  void countPairs(const RowSet& rowSet, int32_t column, const int32_t* list, int64_t count, int32_t* counts) const;

  Isa isa_;
  const LassoKernels& kernels_;
  bool refit_, pooled_;
  int64_t numModels_;
  BitColumns columns_;
  std::vector<uint64_t> bits_, blocks_;
  std::vector<int32_t> modelOfRow_;
  std::vector<int64_t> foldFrom_;  // (folds + 1)
  RowSet all_;
  std::vector<RowSet> folds_;
};

}  // namespace lethe
