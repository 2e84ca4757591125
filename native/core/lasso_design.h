// The design all targets of a fit share: masks as bit columns with the held-out models behind the others, and exact Gram counts.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/lasso.h"
#include "lethe/lasso_kernels.h"

namespace lethe {

// The models of a fit: rows [0, firstTo) and [secondFrom, secondTo) of the design. Counts are exact integers; a centred Gram entry is
// pairs[j, k] / count - share[j] * share[k].
struct RowSubset {
  int64_t count = 0, firstTo = 0, secondFrom = 0, secondTo = 0;
  int64_t extent = 0;                // rows [0, extent), a multiple of 64, hold them all
  std::vector<int32_t> seen;         // (columns) models of the subset that saw example j
  std::vector<float> share;          // (columns) seen / count
  std::vector<uint16_t> pairs;       // (columns, columns) models that saw both; empty: counted from the bits when needed

  bool constant(int32_t column) const { return seen[column] == 0 || seen[column] == count; }
};

class LassoDesign {
 public:
  LassoDesign(const MaskView& masks, const std::vector<int32_t>& holdout, const LassoKernels& kernels);

  // Fills `pairs` of both subsets; worth it when many targets share the design. Returns early when aborted.
  void precomputePairs(int threads, const TaskControl& control);

  // gram[k] = centred Gram entry of `column` and list[k], k < count. counts: (count) scratch.
  void gramRow(const RowSubset& subset, int32_t column, const int32_t* list, int64_t count, int32_t* counts, float* gram) const;

  const BitColumns& columns() const { return columns_; }
  const RowSubset& fitted() const { return fitted_; }  // the models that are not held out
  const RowSubset& all() const { return holdoutFrom_ == columns_.rows ? fitted_ : all_; }
  int64_t holdoutFrom() const { return holdoutFrom_; }  // held-out models are rows [holdoutFrom, holdoutTo)
  int64_t holdoutTo() const { return holdoutTo_; }
  const std::vector<int32_t>& modelOfRow() const { return modelOfRow_; }  // (rows) -1: padding

 private:
  void packColumns(const MaskView& masks);

  const LassoKernels& kernels_;
  BitColumns columns_;
  std::vector<uint64_t> bits_;
  std::vector<int32_t> modelOfRow_;
  int64_t holdoutFrom_ = 0, holdoutTo_ = 0;
  RowSubset fitted_, all_;
};

}  // namespace lethe
