#include "lethe/bench/lasso_rates.h"

#include <algorithm>
#include <cmath>

#include "bench/stopwatch.h"
#include "core/base/aligned.h"
#include "lethe/base/random.h"
#include "lethe/bench/peaks.h"
#include "lethe/lasso/kernels.h"

namespace lethe {

namespace {

constexpr int64_t kRows = 2048, kColumns = 2048, kActive = 256;

// Random bits in both orders and what the kernels read.
struct Workload {
  AlignedVector<uint64_t> bits, words;
  BitColumns x;
  BitBlocks blocks;
  Random random{0, Purpose::synthetic, 0};

  Workload() : bits(kRows / 64 * kColumns), words(kRows / 64 * kColumns) {
    for (uint64_t& word : bits) word = static_cast<uint64_t>(random.next()) << 32 | random.next();
    for (int64_t j = 0; j < kColumns; ++j) {
      for (int64_t b = 0; b < kRows / 64; ++b) words[b * kColumns + j] = bits[j * kRows / 64 + b];
    }
    x = {reinterpret_cast<const uint8_t*>(bits.data()), kRows, kColumns};
    blocks = {words.data(), kColumns};
  }
  bool bit(int64_t row, int64_t column) const { return bits[column * kRows / 64 + row / 64] >> (row % 64) & 1; }
};

double medianSeconds(const std::function<void()>& work) {
  const std::vector<double> samples = sampleSeconds(work);
  return samples[samples.size() / 2];
}

std::string shapeOf(int64_t a, int64_t b) { return std::to_string(a) + " x " + std::to_string(b); }

// X^T R for all lanes of a pass: 2 operations a row, column and lane, as a matrix product would do.
template <typename Element, typename Sums>
bool rateSums(Workload& load, const std::string& name, int64_t scratchBytes, const Peaks& peaks, KernelRate& result, Sums sumsOf) {
  constexpr int64_t kLanes = kPassBytes / static_cast<int64_t>(sizeof(Element));
  AlignedVector<Element> values(kRows * kLanes), sums(kColumns * kLanes);
  AlignedVector<uint8_t> tables(scratchBytes);
  for (Element& value : values) value = static_cast<Element>(load.random.next());
  const auto work = [&] { sumsOf(load.blocks, kRows, values.data(), sums.data(), tables.data()); };
  work();
  for (int64_t j = 0; j < kColumns; j += 37) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      int64_t expected = 0;
      for (int64_t i = 0; i < kRows; ++i) expected += load.bit(i, j) ? values[i * kLanes + lane] : 0;
      if (sums[j * kLanes + lane] != static_cast<Element>(expected)) return false;
    }
  }
  result = {name, shapeOf(kRows, kColumns) + " x " + std::to_string(kLanes), "GF-equivalent/s", 0, 0};
  result.rate = 2e-9 * static_cast<double>(kRows * kColumns * kLanes) / medianSeconds(work);
  // an AMX kernel multiplies every byte of a value
  result.shareOfPeak = peaks.amxInt8Tops > 0 ? result.rate * static_cast<double>(sizeof(Element)) / (1000 * peaks.amxInt8Tops) : result.rate / peaks.fmaGflops;
  return true;
}

bool rateExact(Workload& load, const LassoKernels& kernels, const Peaks& peaks, KernelRate& result) {
  return rateSums<int32_t>(load, "X^T R, 32 bits", kernels.passScratchBytes(kRows), peaks, result, kernels.exactSums);
}

bool rateScreen(Workload& load, const LassoKernels& kernels, const Peaks& peaks, KernelRate& result) {
  return rateSums<int16_t>(load, "X^T R, 16 bits", kernels.passScratchBytes(kRows), peaks, result, kernels.screenSums);
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
  const auto work = [&] { kernels.pairCounts(load.x, load.bits.data() + 5 * kRows / 64, list.data(), kColumns, counts.data()); };
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

// One sweep over a working set in which every weight changes (no penalty, from fresh gradients): 2 operations a pair of features.
bool rateDescend(Workload& load, const LassoKernels& kernels, const Peaks& peaks, KernelRate& result) {
  constexpr float kDiagonal = 500;
  AlignedVector<int8_t> gram(kActive * kActive);
  AlignedVector<float> diagonal(kActive, kDiagonal), inverse(kActive, 1 / kDiagonal), zero(kActive), start(kActive), gradient(kActive);
  AlignedVector<double> weight(kActive), penalty(kActive, 1e-9);
  std::vector<int32_t> positions(kActive);
  for (int64_t p = 0; p < kActive; ++p) {
    for (int64_t q = 0; q < p; ++q) gram[p * kActive + q] = gram[q * kActive + p] = static_cast<int8_t>(10 * load.random.normal());
    start[p] = static_cast<float>(100 * load.random.normal());
    positions[p] = static_cast<int32_t>(p);
  }
  const DescentSet<int8_t> set{kActive, kActive, gram.data(), diagonal.data(), inverse.data(), zero.data(), zero.data(), penalty.data()};
  const auto work = [&] {
    std::copy(start.begin(), start.end(), gradient.begin());
    std::fill(weight.begin(), weight.end(), 0.0);
    kernels.descend8(set, kActive, positions.data(), gradient.data(), weight.data());
  };
  work();
  std::vector<double> expected(start.begin(), start.end());
  for (int64_t p = 0; p < kActive; ++p) {
    const double step = expected[p] / static_cast<double>(kDiagonal);
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
  for (const auto rate : {rateExact, rateScreen, rateResidual, ratePairCounts, rateDescend}) {
    KernelRate result;
    if (!rate(load, kernels, peaks, result)) {
      return Status::error("LETHE_KERNEL_WRONG", "kernel " + std::to_string(rates.size()) + " of " + isaName(isa) +
                                                     " (X^T R in 32 and 16 bits, residual, Gram counts, coordinate descent): expected the naive loop's "
                                                     "numbers; received others. Run: npm test");
    }
    rates.push_back(std::move(result));
  }
  return Status::success();
}

}  // namespace lethe
