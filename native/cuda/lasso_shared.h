// What the workers of a fit share, one a device.
#pragma once
#include <atomic>
#include <vector>

#include "core/lasso_design.h"
#include "lethe/gpu.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

struct Shared {
  const LassoDesign& design;
  const TargetView& targets;
  const FitOptions& options;
  const GpuOptions& gpu;
  const TaskControl& control;
  std::vector<TargetFit>& fits;
  int64_t numDevices = 1;
  std::atomic<int64_t> nextChunk{0}, numDone{0};
  std::atomic<bool> stop{false};

  // values: (to - from, models). A row of the targets is read in one piece: single columns would miss the caches at every model.
  void readTargets(int64_t from, int64_t to, std::vector<float>& values) const {
    const int64_t models = design.numModels();
    values.resize(static_cast<size_t>((to - from) * models));
    for (int64_t model = 0; model < models; ++model) {
      for (int64_t t = from; t < to; ++t) values[static_cast<size_t>((t - from) * models + model)] = targets.values[model * targets.rowStride + t];
    }
  }
  void finishedOne() { control.report(static_cast<double>(numDone.fetch_add(1) + 1), static_cast<double>(targets.numTargets)); }
};

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
