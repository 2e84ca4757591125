// Datamodels: the synthetic problem, a certificate in double, the timed fit.
#include <algorithm>
#include <cmath>

#include "bench/bench.h"
#include "lethe/base/parallel.h"
#include "lethe/base/random.h"

namespace lethe::bench {

namespace {

int64_t rowBytesOf(int64_t numTrain) { return (numTrain + 7) / 8; }

// (numTrain rounded up to bytes, ceil(numModels / 8)): bit i of a row says that model i saw the example.
std::vector<uint8_t> bitColumns(const LassoProblem& problem) {
  const int64_t rowBytes = rowBytesOf(problem.numTrain), stride = (problem.numModels + 7) / 8;
  std::vector<uint8_t> columns(static_cast<size_t>(rowBytes * 8 * stride));
  parallelFor(rowBytes, 0, [&](int64_t byte, int) {
    for (int64_t row = 0; row < problem.numModels; ++row) {
      const unsigned word = problem.bits[static_cast<size_t>(row * rowBytes + byte)];
      for (int bit = 0; bit < 8; ++bit) columns[static_cast<size_t>((byte * 8 + bit) * stride + row / 8)] |= (word >> bit & 1) << (row & 7);
    }
  });
  return columns;
}

// signal[i] += weights[k] where model i saw columns[k]: eight columns a time from a table of their 256 sums, the order of src/bench/problem.ts.
void addColumns(const std::vector<uint8_t>& bits, int64_t stride, const std::vector<uint32_t>& columns, const std::vector<double>& weights,
                std::vector<double>& signal) {
  double table[256];
  for (size_t from = 0; from < columns.size(); from += 8) {
    const size_t count = std::min<size_t>(8, columns.size() - from);
    const uint8_t* at[8];
    table[0] = 0;
    for (size_t k = 0; k < 8; ++k) {
      const double weight = k < count ? weights[from + k] : 0;
      for (size_t entry = 0; entry < size_t{1} << k; ++entry) table[(size_t{1} << k) + entry] = table[entry] + weight;
      at[k] = bits.data() + columns[from + std::min(k, count - 1)] * stride;
    }
    for (int64_t byte = 0; byte < stride; ++byte) {
      for (int row = 0; row < 8; ++row) {
        unsigned key = 0;
        for (int k = 0; k < 8; ++k) key |= static_cast<unsigned>(at[k][byte] >> row & 1) << k;
        signal[static_cast<size_t>(byte * 8 + row)] += table[key];
      }
    }
  }
}

double deviation(const std::vector<double>& values, int64_t count) {
  double mean = 0, squares = 0;
  for (int64_t i = 0; i < count; ++i) mean += values[static_cast<size_t>(i)];
  mean /= static_cast<double>(count);
  for (int64_t i = 0; i < count; ++i) squares += (values[static_cast<size_t>(i)] - mean) * (values[static_cast<size_t>(i)] - mean);
  return std::sqrt(squares / static_cast<double>(count));
}

void centre(std::vector<double>& values) {
  double mean = 0;
  for (const double value : values) mean += value;
  mean /= static_cast<double>(values.size());
  for (double& value : values) value -= mean;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

LassoProblem syntheticProblem(int64_t numModels, int64_t numTrain, int64_t numTargets, uint64_t seed) {
  LassoProblem problem{numModels, numTrain, numTargets, {}, {}};
  const int64_t rowBytes = rowBytesOf(numTrain), stride = (numModels + 7) / 8;
  problem.bits.resize(static_cast<size_t>(numModels * rowBytes));
  problem.outputs.resize(static_cast<size_t>(numModels * numTargets));
  parallelFor(numModels, 0, [&](int64_t row, int) {
    Random random(seed, Purpose::mask, static_cast<uint64_t>(row));
    uint8_t* bytes = problem.bits.data() + row * rowBytes;
    for (int64_t byte = 0; byte < rowBytes; byte += 4) {
      const uint32_t word = random.next();
      for (int64_t k = 0; k < std::min<int64_t>(4, rowBytes - byte); ++k) bytes[byte + k] = static_cast<uint8_t>(word >> (8 * k));
    }
    if (numTrain % 8 != 0) bytes[rowBytes - 1] &= static_cast<uint8_t>((1 << (numTrain % 8)) - 1);
  });
  const std::vector<uint8_t> columns = bitColumns(problem);
  parallelFor(numTargets, 0, [&](int64_t target, int) {
    Random random(seed, Purpose::synthetic, static_cast<uint64_t>(target));
    std::vector<uint8_t> drawn(static_cast<size_t>(numTrain));
    std::vector<uint32_t> support(static_cast<size_t>(std::max<int64_t>(1, numTrain / 20)));
    for (uint32_t& example : support) {
      do example = random.below(static_cast<uint32_t>(numTrain));
      while (drawn[example]);
      drawn[example] = 1;
    }
    std::vector<double> weights, signal(static_cast<size_t>(stride * 8));
    for (size_t a = 0; a < support.size(); ++a) weights.push_back(random.normal() / std::sqrt(static_cast<double>(a + 1)));
    addColumns(columns, stride, support, weights, signal);
    const double noise = deviation(signal, numModels);
    for (int64_t i = 0; i < numModels; ++i) {
      problem.outputs[static_cast<size_t>(i * numTargets + target)] = static_cast<float>(signal[static_cast<size_t>(i)] + noise * random.normal());
    }
  });
  return problem;
}

double certifiedGap(const LassoProblem& problem, int64_t target, const TargetFit& fit) {
  const int64_t rowBytes = rowBytesOf(problem.numTrain);
  const double m = static_cast<double>(problem.numModels);
  std::vector<double> centred, residual;
  for (int64_t i = 0; i < problem.numModels; ++i) {
    double value = problem.outputs[static_cast<size_t>(i * problem.numTargets + target)];
    centred.push_back(value);
    const uint8_t* row = problem.bits.data() + i * rowBytes;
    for (size_t k = 0; k < fit.indices.size(); ++k) {
      const int32_t j = fit.indices[k];
      value -= static_cast<double>(fit.weights[k]) * (row[j >> 3] >> (j & 7) & 1);
    }
    residual.push_back(value);
  }
  centre(centred);
  centre(residual);
  // the residual sums to zero, so the mean of a column drops out
  std::vector<double> correlations(static_cast<size_t>(rowBytes * 8));
  for (int64_t i = 0; i < problem.numModels; ++i) {
    const double r = residual[static_cast<size_t>(i)] / m;
    for (int64_t byte = 0; byte < rowBytes; ++byte) {
      const unsigned word = problem.bits[static_cast<size_t>(i * rowBytes + byte)];
      for (int bit = 0; bit < 8; ++bit) correlations[static_cast<size_t>(byte * 8 + bit)] += r * (word >> bit & 1);
    }
  }
  double largest = 0, absolute = 0;
  for (const double value : correlations) largest = std::max(largest, std::fabs(value));
  for (const float weight : fit.weights) absolute += std::fabs(static_cast<double>(weight));
  const double squares = dot(residual, residual) / m, product = dot(residual, centred) / m;
  double s = squares > 0 ? product / squares : 0;
  if (largest > 0) s = std::min(s, fit.lambda / largest);
  const double primal = squares / 2 + fit.lambda * absolute, dual = s * product - s * s * squares / 2;
  return (primal - dual) / (dot(centred, centred) / (2 * m));
}

Status fitOnGpu(const GpuOps& gpu, const MaskView& masks, const TargetView& targets, const FitOptions& options, FitRun& run) {
  std::shared_ptr<const LassoDesign> design;
  std::unique_ptr<GpuFit> opened;
  Status status;
  run.openSeconds = secondsOf([&] {
    status = openDesign(masks, options, 0, {}, design);
    if (status.ok()) status = gpu.openFit(design, options, {}, targets.numTargets, {}, opened);
  });
  if (!status.ok()) return status;
  run.fitSeconds = secondsOf([&] { status = opened->fit(targets, {}, run.fits); });
  run.operations = opened->numOperations();
  return status;
}

Row lassoRow(const LassoProblem& problem, int64_t checkedTargets, int trials, double int8Tops, const Fit& fit) {
  constexpr double kRounding = 2e-6;  // of the weights to float
  Row row{"lasso", "", {}, {{"source", "synthetic, seed 0"}}};
  FitOptions options;
  options.fold.assign(static_cast<size_t>(problem.numModels), -1);
  for (int64_t i = 0; i < problem.numModels; i += 10) options.fold[static_cast<size_t>(i)] = 0;  // masks are independent: any tenth will do
  FitRun run;
  Status status;
  std::vector<double> seconds;
  for (int trial = 0; trial < trials && status.ok(); ++trial) {
    run = FitRun{};
    seconds.push_back(secondsOf([&] {
      status = fit({problem.bits.data(), problem.numModels, problem.numTrain}, {problem.outputs.data(), problem.numTargets, problem.numTargets, nullptr, 1},
                   options, run);
    }));
  }
  const std::vector<TargetFit>& fits = run.fits;
  row.numbers = {
      {"m", static_cast<double>(problem.numModels)}, {"n", static_cast<double>(problem.numTrain)}, {"numTargets", static_cast<double>(problem.numTargets)}};
  if (!status.ok()) {
    row.problem = status.code + ": " + status.message;
    return row;
  }
  const int64_t checked = std::min(checkedTargets, problem.numTargets);
  std::vector<double> gaps(static_cast<size_t>(checked));
  parallelFor(checked, 0, [&](int64_t k, int) {
    const int64_t target = k * problem.numTargets / checked;
    gaps[static_cast<size_t>(k)] = certifiedGap(problem, target, fits[static_cast<size_t>(target)]);
  });
  double reported = 0, nonzero = 0, certified = 0;
  int64_t converged = 0;
  for (const TargetFit& one : fits) {
    reported = std::max(reported, one.gap);
    nonzero += static_cast<double>(one.indices.size()) / static_cast<double>(problem.numTargets);
    converged += one.status == FitStatus::converged;
  }
  for (const double gap : gaps) certified = std::max(certified, std::isnan(gap) ? HUGE_VAL : gap);
  const double median = addTimes(row, seconds);
  if (run.operations > 0) {
    const double tops = run.operations / run.fitSeconds * 1e-12;
    row.numbers.insert(row.numbers.end(), {{"openSeconds", run.openSeconds}, {"fitSeconds", run.fitSeconds}, {"int8Tops", tops}});  // of the last trial
    if (int8Tops > 0) row.numbers.push_back({"shareOfPeak", tops / int8Tops});
  }
  const std::pair<const char*, double> more[] = {{"secondsPerTarget", median / static_cast<double>(problem.numTargets)},
                                                 {"maxRelativeGap", reported},
                                                 {"maxCheckedGap", certified},
                                                 {"checkedTargets", static_cast<double>(checked)},
                                                 {"numConverged", static_cast<double>(converged)},
                                                 {"meanNonzero", nonzero}};
  row.numbers.insert(row.numbers.end(), std::begin(more), std::end(more));
  if (converged != problem.numTargets) row.problem = "not every target converged";
  if (!(certified <= options.gapTolerance + kRounding)) row.problem = "a certified gap is above the tolerance";
  return row;
}

}  // namespace lethe::bench
