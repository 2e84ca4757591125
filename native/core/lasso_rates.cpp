#include "lethe/lasso_rates.h"

#include <algorithm>
#include <cmath>

#include "core/stopwatch.h"
#include "lethe/lasso_kernels.h"
#include "lethe/peaks.h"
#include "lethe/random.h"

namespace lethe {

namespace {

constexpr int64_t kRows = 2048, kColumns = 2048, kActive = 256;

// Random bit columns and everything the kernels read; 64-byte alignment is only for speed.
struct Workload {
  std::vector<uint64_t> bits;
  BitColumns x;
  Random random{0, Purpose::synthetic, 0};

  Workload() : bits(kRows / 64 * kColumns) {
    for (uint64_t& word : bits) word = static_cast<uint64_t>(random.next()) << 32 | random.next();
    x = {reinterpret_cast<const uint8_t*>(bits.data()), kRows, kColumns};
  }
  bool bit(int64_t row, int64_t column) const { return bits[column * kRows / 64 + row / 64] >> (row % 64) & 1; }
};

double medianSeconds(const std::function<void()>& work) {
  const std::vector<double> samples = sampleSeconds(work);
  return samples[samples.size() / 2];
}

std::string shapeOf(int64_t a, int64_t b) { return std::to_string(a) + " x " + std::to_string(b); }

// X^T R for all lanes of a pass: 2 operations a row, column and lane, as a matrix product would do.
bool rateMaskedSums(Workload& load, const LassoKernels& kernels, const Peaks& peaks, KernelRate& result) {
  std::vector<int32_t> storage((kRows + kColumns) * kPassLanes + kTableInts + 16);
  int32_t* values = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64 / 4;
  int32_t *sums = values + kRows * kPassLanes, *tables = sums + kColumns * kPassLanes;
  for (int64_t i = 0; i < kRows * kPassLanes; ++i) values[i] = static_cast<int32_t>(load.random.below(1 << 20)) - (1 << 19);
  const auto work = [&] { kernels.maskedSums(load.x, values, sums, tables); };
  work();
  for (int64_t j = 0; j < kColumns; j += 37) {
    for (int64_t lane = 0; lane < kPassLanes; ++lane) {
      int64_t expected = 0;
      for (int64_t i = 0; i < kRows; ++i) expected += load.bit(i, j) ? values[i * kPassLanes + lane] : 0;
      if (sums[j * kPassLanes + lane] != expected) return false;
    }
  }
  result = {"X^T R", shapeOf(kRows, kColumns) + " x " + std::to_string(kPassLanes), "GF-equivalent/s", 0, 0};
  result.rate = 2e-9 * static_cast<double>(kRows * kColumns * kPassLanes) / medianSeconds(work);
  result.shareOfPeak = result.rate / peaks.fmaGflops;
  return true;
}

// y - X w: one double addition a row and active column; the peak counts two operations on twice as many fp32 lanes.
bool rateResidual(Workload& load, const LassoKernels& kernels, const Peaks& peaks, KernelRate& result) {
  std::vector<double> target(kRows), residual(kRows), weight(kActive);
  std::vector<int32_t> column(kActive);
  for (double& value : target) value = load.random.normal();
  for (int64_t k = 0; k < kActive; ++k) {
    column[k] = static_cast<int32_t>(7 * k);
    weight[k] = load.random.normal();
  }
  const auto work = [&] { kernels.residual(load.x, 0, kRows, target.data(), kActive, column.data(), weight.data(), residual.data()); };
  work();
  for (int64_t i = 0; i < kRows; ++i) {
    double expected = target[i];
    for (int64_t k = 0; k < kActive; ++k) expected -= load.bit(i, column[k]) ? weight[k] : 0;
    if (!(std::fabs(residual[i] - expected) <= 1e-10)) return false;
  }
  result = {"residual", shapeOf(kRows, kActive), "Gadd/s", 0, 0};
  result.rate = 1e-9 * static_cast<double>(kRows * kActive) / medianSeconds(work);
  result.shareOfPeak = result.rate / (peaks.fmaGflops / 4);
  return true;
}

bool ratePairCounts(Workload& load, const LassoKernels& kernels, const Peaks& peaks, KernelRate& result) {
  std::vector<int32_t> list(kColumns), counts(kColumns);
  for (int64_t k = 0; k < kColumns; ++k) list[k] = static_cast<int32_t>(k);
  const auto work = [&] { kernels.pairCounts(load.x, 0, kRows, 5, list.data(), kColumns, counts.data()); };
  work();
  for (int64_t k = 0; k < kColumns; k += 37) {
    int32_t expected = 0;
    for (int64_t i = 0; i < kRows; ++i) expected += load.bit(i, 5) && load.bit(i, k) ? 1 : 0;
    if (counts[k] != expected) return false;
  }
  result = {"Gram counts", shapeOf(kRows, kColumns), "Gword/s", 0, 0};
  result.rate = 1e-9 * static_cast<double>(kRows / 64 * kColumns) / medianSeconds(work);
  result.shareOfPeak = result.rate / peaks.popcountGwords;
  return true;
}

// One sweep over a working set in which every weight changes (lambda 0, from fresh gradients): 2 operations a pair of features.
bool rateDescend(Workload& load, const LassoKernels& kernels, const Peaks& peaks, KernelRate& result) {
  std::vector<float> gram(kActive * kActive), inverse(kActive), start(kActive), gradient(kActive);
  std::vector<int32_t> positions(kActive);
  std::vector<double> weight(kActive);
  for (int64_t p = 0; p < kActive; ++p) {
    for (int64_t q = 0; q < p; ++q) gram[p * kActive + q] = gram[q * kActive + p] = static_cast<float>(0.01 * load.random.normal());
    gram[p * kActive + p] = 0.25f;
    inverse[p] = 4;
    start[p] = static_cast<float>(load.random.normal());
    positions[p] = static_cast<int32_t>(p);
  }
  const auto work = [&] {
    std::copy(start.begin(), start.end(), gradient.begin());
    std::fill(weight.begin(), weight.end(), 0.0);
    kernels.descend(kActive, positions.data(), kActive, gram.data(), kActive, inverse.data(), 0.0f, gradient.data(), weight.data());
  };
  work();
  std::vector<double> expected(start.begin(), start.end());
  for (int64_t p = 0; p < kActive; ++p) {
    const double step = expected[p] * 4;
    if (!(std::fabs(weight[p] - step) <= 1e-4 * (1 + std::fabs(step)))) return false;
    for (int64_t q = 0; q < kActive; ++q) expected[q] -= step * static_cast<double>(gram[p * kActive + q]);
  }
  result = {"coordinate descent", shapeOf(kActive, kActive), "GF/s", 0, 0};
  result.rate = 2e-9 * static_cast<double>(kActive * kActive) / medianSeconds(work);
  result.shareOfPeak = result.rate / peaks.fmaGflops;
  return true;
}

}  // namespace

Status lassoKernelRates(const std::string& isaRequest, std::vector<KernelRate>& rates) {
  Isa isa;
  const Status status = resolveIsa(isaRequest, isa);
  if (!status.ok()) return status;
  const LassoKernels& kernels = lassoKernels(isa);
  const Peaks peaks = measurePeaks(isa);
  Workload load;
  for (const auto rate : {rateMaskedSums, rateResidual, ratePairCounts, rateDescend}) {
    KernelRate result;
    if (!rate(load, kernels, peaks, result)) {
      return Status::error("LETHE_KERNEL_WRONG", "kernel " + std::to_string(rates.size()) + " of " + isaName(isa) +
                                                     " (X^T R, residual, Gram counts, coordinate descent): expected the naive loop's "
                                                     "numbers; received others. Run: npm test");
    }
    rates.push_back(std::move(result));
  }
  return Status::success();
}

}  // namespace lethe
