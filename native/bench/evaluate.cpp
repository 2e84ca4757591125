// KLOM, ranks and margins: every point against the CPU, then the rate from host memory to host memory.
#include <cmath>

#include "bench/bench.h"
#include "lethe/base/parallel.h"
#include "lethe/base/random.h"

namespace lethe::bench {

namespace {

constexpr int kTrials = 5;
constexpr double kTolerance = 1e-12;

std::vector<float> normals(int64_t rows, int64_t columns, uint32_t stream) {
  std::vector<float> values(static_cast<size_t>(rows * columns));
  parallelFor(rows, 0, [&](int64_t row, int) {
    Random random(0, Purpose::synthetic, static_cast<uint64_t>(row), stream);
    for (int64_t i = 0; i < columns; ++i) values[static_cast<size_t>(row * columns + i)] = static_cast<float>(3 * random.normal());
  });
  return values;
}

bool close(double a, double b, double tolerance) { return (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= tolerance; }

// After a first call, which loads the kernels.
void timed(Row& row, double bytes, const std::function<Status()>& call) {
  Status status = call();
  std::vector<double> seconds;
  for (int trial = 0; trial < kTrials && status.ok(); ++trial) seconds.push_back(secondsOf([&] { status = call(); }));
  if (!status.ok()) row.problem = status.code + ": " + status.message;
  else row.numbers.push_back({"gbytesWithTransfers", bytes / addTimes(row, seconds) * 1e-9});
}

Row rowOf(const char* name, int64_t models, int64_t points) {
  return {name, "", {{"models", static_cast<double>(models)}, {"points", static_cast<double>(points)}}, {}};
}

}  // namespace

Row klomRow(const GpuOps& gpu, int64_t models, int64_t points) {
  Row row = rowOf("klom", models, points);
  const std::vector<float> oracle = normals(models, points, 0), unlearned = normals(models, points, 1);
  const KlomMargins margins{oracle.data(), unlearned.data(), models, models, points};
  std::vector<double> expected(static_cast<size_t>(points)), scores(static_cast<size_t>(points));
  std::vector<int32_t> nonFinite(static_cast<size_t>(points));
  KlomOptions options;
  Status status = resolveIsa("", options.isa);
  if (status.ok()) status = klom(margins, options, expected.data(), nonFinite.data(), {});
  timed(row, static_cast<double>(2 * models * points * 4), [&] { return gpu.klom(margins, options, {}, scores.data(), nonFinite.data(), {}); });
  for (size_t p = 0; p < scores.size() && row.problem.empty(); ++p) {
    if (!status.ok() || !close(scores[p], expected[p], kTolerance)) row.problem = "the score of point " + std::to_string(p) + " is not the CPU's";
  }
  return row;
}

Row ranksRow(const GpuOps& gpu, int64_t models, int64_t points) {
  Row row = rowOf("ranks", models, points);
  const std::vector<float> predicted = normals(models, points, 0);
  std::vector<float> actual = normals(models, points, 1);
  for (size_t i = 0; i < actual.size(); ++i) actual[i] += predicted[i];
  std::vector<double> expected(static_cast<size_t>(points)), correlation(static_cast<size_t>(points));
  int64_t constant = 0, bad = 0;
  const Status status = spearman(predicted.data(), actual.data(), models, points, points, 0, expected.data(), constant, bad, {});
  timed(row, static_cast<double>(2 * models * points * 4),
        [&] { return gpu.spearman(predicted.data(), actual.data(), models, points, points, {}, correlation.data(), constant, bad, {}); });
  for (size_t p = 0; p < correlation.size() && row.problem.empty(); ++p) {
    if (!status.ok() || !close(correlation[p], expected[p], kTolerance)) row.problem = "the correlation of point " + std::to_string(p) + " is not the CPU's";
  }
  return row;
}

Row marginsRow(const GpuOps& gpu, int64_t models, int64_t points) {
  constexpr int64_t kClasses = 10;
  Row row = rowOf("margins", models, points);
  const std::vector<float> logits = normals(models, points * kClasses, 0);
  std::vector<int32_t> labels(static_cast<size_t>(points));
  for (size_t p = 0; p < labels.size(); ++p) labels[p] = static_cast<int32_t>(p % kClasses);
  const auto count = static_cast<size_t>(models * points);
  std::vector<float> expected(count), margins(count);
  std::vector<uint8_t> guessed(count), guess(count);
  const Status status = marginsFromLogits(logits.data(), labels.data(), models, points, kClasses, 0, expected.data(), guessed.data(), {});
  timed(row, static_cast<double>(models * points * (kClasses * 4 + 5)),
        [&] { return gpu.marginsFromLogits(logits.data(), labels.data(), models, points, kClasses, {}, margins.data(), guess.data(), {}); });
  for (size_t i = 0; i < count && row.problem.empty(); ++i) {
    // another library's exp and log: one unit in the last place of the float
    if (!status.ok() || guess[i] != guessed[i] || !close(margins[i], expected[i], 2e-7 * std::fabs(expected[i]) + 1e-30)) {
      row.problem = "margin " + std::to_string(i) + " is not the CPU's";
    }
  }
  return row;
}

}  // namespace lethe::bench
