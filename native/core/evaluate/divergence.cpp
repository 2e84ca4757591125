// Divergences of two small samples without the bias of a histogram.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "lethe/base/parallel.h"
#include "lethe/evaluate/evaluate.h"

namespace lethe {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kBlock = 32;
constexpr double kLeastShare = 1e-9;  // of the range of all margins: distances below are ties

// Derivative of the logarithm of the gamma function, x > 0.
double digamma(double x) {
  double sum = 0;
  for (; x < 10; ++x) sum -= 1 / x;
  const double y = 1 / (x * x);
  return sum + std::log(x) - 0.5 / x - y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y / 132))));
}

// Expectation of the logarithm of an unbiased variance of n normal values, less that of the true one.
double logVarianceBias(double n) { return digamma((n - 1) / 2) - std::log((n - 1) / 2); }

struct Sample {
  std::vector<double> values;  // ascending
  double mean = 0, variance = 0;

  double size() const { return static_cast<double>(values.size()); }
};

void take(const float* margins, int64_t models, int64_t points, int64_t point, double clip, Sample& sample) {
  sample.values.clear();
  for (int64_t m = 0; m < models; ++m) {
    const double value = static_cast<double>(margins[m * points + point]);
    if (std::isfinite(value)) sample.values.push_back(std::clamp(value, -clip, clip));
  }
  std::sort(sample.values.begin(), sample.values.end());
  sample.mean = sample.variance = 0;
  // a sum of equal values divided by their number need not be that value
  if (!sample.values.empty() && sample.values.front() == sample.values.back()) {
    sample.mean = sample.values.front();
    return;
  }
  for (double value : sample.values) sample.mean += value / sample.size();
  for (double value : sample.values) sample.variance += (value - sample.mean) * (value - sample.mean) / (sample.size() - 1);
}

double gaussianOf(const Sample& oracle, const Sample& unlearned) {
  const double n = oracle.size(), m = unlearned.size();
  if (n < 2 || m < 4) return kNaN;
  if (unlearned.variance == 0) return oracle.variance == 0 && oracle.mean == unlearned.mean ? 0 : kInfinity;
  if (oracle.variance == 0) return kInfinity;
  const double shift = oracle.mean - unlearned.mean;
  // the squared shift has the noise of both means, 1 / variance of a sample is too large by (m - 1) / (m - 3), logarithms are too low
  const double spread = (oracle.variance + shift * shift - oracle.variance / n) * (m - 3) / (m - 1) / unlearned.variance - 1 / m;
  const double logs = std::log(unlearned.variance) - logVarianceBias(m) - (std::log(oracle.variance) - logVarianceBias(n));
  return 0.5 * (logs + spread - 1);
}

// Distance of x to its k-th nearest neighbour among ascending values, of which [at, at + 1) is x itself where `self`.
double distance(const std::vector<double>& values, double x, size_t at, bool self, int64_t k) {
  size_t left = at, right = self ? at + 1 : at;  // values[left - 1] and values[right] are the next on each side
  double found = 0;
  for (int64_t step = 0; step < k; ++step) {
    const double below = left > 0 ? x - values[left - 1] : kInfinity, above = right < values.size() ? values[right] - x : kInfinity;
    found = std::min(below, above);
    if (below <= above) --left;
    else ++right;
  }
  return found;
}

double neighboursOf(const Sample& oracle, const Sample& unlearned) {
  const double n = oracle.size(), m = unlearned.size();
  if (n <= kNeighbours || m < kNeighbours) return kNaN;
  const double range = std::max(oracle.values.back(), unlearned.values.back()) - std::min(oracle.values.front(), unlearned.values.front());
  if (range == 0) return 0;
  double sum = 0;
  size_t among = 0;  // unlearned margins below x
  for (size_t i = 0; i < oracle.values.size(); ++i) {
    const double x = oracle.values[i];
    while (among < unlearned.values.size() && unlearned.values[among] < x) ++among;
    const double own = std::max(distance(oracle.values, x, i, true, kNeighbours), kLeastShare * range);
    const double other = std::max(distance(unlearned.values, x, among, false, kNeighbours), kLeastShare * range);
    sum += std::log(other / own);
  }
  return sum / n + std::log(m / (n - 1));
}

}  // namespace

Status divergences(const KlomMargins& margins, double clip, int threads, double* gaussian, double* neighbours, const TaskControl& control) {
  KlomOptions options;
  options.clip = clip;
  const Status status = checkKlom(margins, options);
  if (!status.ok()) return status;
  std::atomic<int64_t> done{0};
  parallelFor((margins.numPoints + kBlock - 1) / kBlock, threads, [&](int64_t block, int) {
    if (control.aborted()) return;
    Sample oracle, unlearned;
    const int64_t begin = block * kBlock, end = std::min(begin + kBlock, margins.numPoints);
    for (int64_t point = begin; point < end; ++point) {
      take(margins.oracle, margins.numOracles, margins.numPoints, point, clip, oracle);
      take(margins.unlearned, margins.numUnlearned, margins.numPoints, point, clip, unlearned);
      gaussian[point] = gaussianOf(oracle, unlearned);
      neighbours[point] = neighboursOf(oracle, unlearned);
    }
    control.report(static_cast<double>(done += end - begin), static_cast<double>(margins.numPoints));
  });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "stopped on request before all points were done.");
  return Status::success();
}

}  // namespace lethe
