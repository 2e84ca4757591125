// What the workers of a fit share, several a device.
#pragma once
#include <algorithm>
#include <atomic>
#include <vector>

#include "core/lasso/design.h"
#include "lethe/base/parallel.h"
#include "lethe/gpu_ops.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

// Targets [from, to).
struct Span {
  int64_t from = 0, to = 0;
  int64_t size() const { return to - from; }
};

constexpr int64_t kLine = 16;  // targets that are read together: neighbours in memory

struct Shared {
  const LassoDesign& design;
  const TargetView& targets;
  const FitOptions& options;
  const TaskControl& control;
  std::vector<TargetFit>& fits;
  int threads = 1;  // of the host for each device
  std::atomic<int64_t> nextTarget{0}, numDone{0}, numOperations{0};
  std::atomic<bool> stop{false};

  bool stopped() const { return stop || control.aborted(); }

  // Up to `most` targets that no one has taken yet.
  Span take(int64_t most) {
    const int64_t count = targets.numTargets, from = std::min(nextTarget.fetch_add(std::max<int64_t>(most, 0)), count);
    return {from, std::min(from + std::max<int64_t>(most, 0), count)};
  }
  // columns: (span, stride) of these targets; their row r is of model models[r], and left as it is where that is -1.
  void readColumns(Span span, const std::vector<int32_t>& models, int64_t stride, float* columns) const {
    for (size_t row = 0; row < models.size(); ++row) {
      if (models[row] < 0) continue;
      const float* values = targets.values + models[row] * targets.rowStride + span.from;
      for (int64_t k = 0; k < span.size(); ++k) columns[k * stride + static_cast<int64_t>(row)] = values[k];
    }
  }
  void finishedOne() { control.report(static_cast<double>(numDone.fetch_add(1) + 1), static_cast<double>(targets.numTargets)); }
};

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
