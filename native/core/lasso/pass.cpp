#include "core/lasso/pass.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lethe {

PassRunner::PassRunner(const LassoDesign& design)
    : design_(design),
      values_(design.columns().rows * kPassBytes),
      sums_(design.columns().columns * kPassBytes),
      scratch_(design.kernels().passScratchBytes(design.columns().rows)),
      hits_(design.columns().columns) {}

int64_t PassRunner::extent(const std::vector<TargetSolver*>& targets) const {
  int64_t rows = 0;
  for (const TargetSolver* target : targets) rows = std::max(rows, target->rowSet().extent);
  return rows;
}

void PassRunner::exact(const std::vector<TargetSolver*>& targets, std::vector<double>& largest) {
  std::memset(values_.data(), 0, values_.size());
  std::vector<Lane> lanes;
  int64_t next = 0;
  for (TargetSolver* target : targets) {
    lanes.push_back(quantise(*target, next));
    next += lanes.back().limbs;
  }
  design_.kernels().exactSums(design_.blocks(), extent(targets), reinterpret_cast<const int32_t*>(values_.data()), reinterpret_cast<int32_t*>(sums_.data()),
                              scratch_.data());
  largest.assign(targets.size(), 0.0);
  // column blocks keep the sums in the first-level cache while the targets read their lanes
  constexpr int64_t kBlock = 128;
  const int64_t n = design_.columns().columns;
  for (int64_t from = 0; from < n; from += kBlock) {
    for (size_t k = 0; k < targets.size(); ++k) {
      largest[k] = std::max(largest[k], dequantise(*targets[k], lanes[k], from, std::min(from + kBlock, n)));
    }
  }
}

// Splits the residual into integers whose absolute sum stays below 2^31.
PassRunner::Lane PassRunner::quantise(const TargetSolver& target, int64_t first) {
  Lane lane;
  lane.first = first;
  lane.limbs = target.precise() ? 2 : 1;
  const std::vector<double>& residual = target.residual();
  const double rows = static_cast<double>(residual.size());
  double total = 0;
  for (double value : residual) total += std::fabs(value);
  const double room = 2147483647.0 - rows;  // rounding adds at most 1/2 a row
  lane.unit[0] = total > 0 ? total / room : 1;
  lane.unit[1] = lane.unit[0] * 0.5 * rows / room;
  const double inverse = 1 / lane.unit[0], inverseRest = 1 / lane.unit[1];
  int32_t* values = reinterpret_cast<int32_t*>(values_.data()) + first;
  for (size_t i = 0; i < residual.size(); ++i) {
    const double high = static_cast<double>(std::lrint(residual[i] * inverse));
    values[i * kExactLanes] = static_cast<int32_t>(high);
    lane.sum[0] += high;
    if (lane.limbs == 1) continue;
    const double low = static_cast<double>(std::lrint((residual[i] - high * lane.unit[0]) * inverseRest));
    values[i * kExactLanes + 1] = static_cast<int32_t>(low);
    lane.sum[1] += low;
  }
  return lane;
}

// correlation[j] = sum of r over the models that saw j - seen[j] / count * sum of r
double PassRunner::dequantise(TargetSolver& target, const Lane& lane, int64_t from, int64_t to) {
  const RowSet& rowSet = target.rowSet();
  const double total = lane.unit[0] * lane.sum[0] + lane.unit[1] * lane.sum[1], share = total / static_cast<double>(rowSet.count);
  const double high = lane.unit[0], low = lane.limbs == 2 ? lane.unit[1] : 0;
  const int32_t* sums = reinterpret_cast<const int32_t*>(sums_.data()) + lane.first;
  const int64_t second = lane.limbs - 1;
  const float* factor = target.factor();
  double* correlation = target.correlation().data();
  double largest = 0;
  for (int64_t j = from; j < to; ++j) {
    double value = high * sums[j * kExactLanes] + low * sums[j * kExactLanes + second] - share * rowSet.seen[j];
    if (rowSet.constant(static_cast<int32_t>(j))) value = 0;
    correlation[j] = value;
    largest = std::max(largest, factor ? std::fabs(value) / static_cast<double>(factor[j]) : std::fabs(value));
  }
  return largest;
}

void PassRunner::screen(const std::vector<TargetSolver*>& targets, std::vector<std::vector<int32_t>>& found) {
  std::memset(values_.data(), 0, values_.size());
  int16_t* values = reinterpret_cast<int16_t*>(values_.data());
  int16_t thresholds[kScreenLanes];
  std::fill(thresholds, thresholds + kScreenLanes, int16_t{32767});
  for (size_t k = 0; k < targets.size(); ++k) {
    const TargetSolver& target = *targets[k];
    const std::vector<double>& residual = target.residual();
    const std::vector<float>& weights = target.rowSet().rowWeight;
    // sums are modulo 2^16: what is beyond 1.5 times the bound would come back at the other end, values and partial sums may
    const double unit = target.screenBound() * 1.5 / 32767, inverse = 1 / unit;
    int64_t total = 0;
    for (size_t i = 0; i < residual.size(); ++i) {
      const int64_t whole = std::lrint(residual[i] * inverse);
      values[i * kScreenLanes + k] = static_cast<int16_t>(whole);
      total += whole;
    }
    // centred columns need a residual without a mean
    for (size_t i = 0; total != 0; i = i + 1 == residual.size() ? 0 : i + 1) {
      if (weights[i] == 0) continue;
      const int16_t step = total > 0 ? 1 : -1;
      values[i * kScreenLanes + k] = static_cast<int16_t>(values[i * kScreenLanes + k] - step);
      total -= step;
    }
    thresholds[k] = static_cast<int16_t>(std::clamp(target.screenFloor() * inverse, 1.0, 32767.0));
  }
  int16_t* sums = reinterpret_cast<int16_t*>(sums_.data());
  design_.kernels().screenSums(design_.blocks(), extent(targets), values, sums, scratch_.data());
  const int64_t hits = design_.kernels().screen(design_.columns().columns, sums, thresholds, hits_.data());
  found.resize(targets.size());
  for (std::vector<int32_t>& list : found) list.clear();
  for (int64_t h = 0; h < hits; ++h) {
    for (uint32_t lanes = hits_[h].lanes; lanes != 0; lanes &= lanes - 1) {
      const size_t lane = static_cast<size_t>(__builtin_ctz(lanes));
      if (lane < found.size()) found[lane].push_back(hits_[h].column);
    }
  }
}

}  // namespace lethe
