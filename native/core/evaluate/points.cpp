// Margins of logits, moments, rank correlation and its bootstrap: one column a point, blocks of points on worker threads.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "lethe/base/parallel.h"
#include "lethe/base/random.h"
#include "lethe/evaluate/evaluate.h"

namespace lethe {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kBlock = 64;  // points a block: neighbouring columns share cache lines

// body(begin, end) over blocks of [0, count), with progress and abort.
template <typename Body>
Status overBlocks(int64_t count, int64_t block, int threads, const TaskControl& control, const Body& body) {
  std::atomic<int64_t> done{0};
  parallelFor((count + block - 1) / block, threads, [&](int64_t index, int) {
    if (control.aborted()) return;
    const int64_t begin = index * block, end = std::min(begin + block, count);
    body(begin, end);
    control.report(static_cast<double>(done += end - begin), static_cast<double>(count));
  });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "stopped on request before all points were done.");
  return Status::success();
}

float marginOf(const float* logits, int64_t classes, int32_t label, uint8_t& predicted) {
  float best = logits[0], bestOther = -std::numeric_limits<float>::infinity();
  bool undefined = false;
  int64_t bestClass = 0;
  for (int64_t c = 0; c < classes; ++c) {
    undefined |= std::isnan(logits[c]);
    if (logits[c] > best) best = logits[c], bestClass = c;
    if (c != label) bestOther = std::max(bestOther, logits[c]);
  }
  predicted = undefined ? 255 : static_cast<uint8_t>(bestClass);
  if (undefined) return std::numeric_limits<float>::quiet_NaN();
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) {
    if (c != label) sum += std::exp(static_cast<double>(logits[c]) - bestOther);
  }
  return static_cast<float>(static_cast<double>(logits[label]) - (bestOther + std::log(sum)));
}

struct RankWork {
  static constexpr size_t kRadix = 2048;  // three digits of 11 bits cover a float
  std::vector<float> values;
  std::vector<uint64_t> keys, spare;
  std::vector<uint32_t> starts;
  std::vector<double> first, second;
  explicit RankWork(size_t n) : values(n), keys(n), spare(n), starts(3 * kRadix), first(n), second(n) {}
};

// Sorts keys by their upper 32 bits: three stable counting passes, or std::sort where the counters would cost more than the keys.
void sortKeys(RankWork& work) {
  if (work.keys.size() < 256) {
    std::sort(work.keys.begin(), work.keys.end());
    return;
  }
  std::fill(work.starts.begin(), work.starts.end(), 0);
  for (const uint64_t key : work.keys) {
    for (size_t digit = 0; digit < 3; ++digit) ++work.starts[digit * RankWork::kRadix + ((key >> (32 + 11 * digit)) & (RankWork::kRadix - 1))];
  }
  for (size_t digit = 0; digit < 3; ++digit) {
    uint32_t* starts = work.starts.data() + digit * RankWork::kRadix;
    uint32_t before = 0;
    for (size_t value = 0; value < RankWork::kRadix; ++value) before += std::exchange(starts[value], before);
    for (const uint64_t key : work.keys) work.spare[starts[(key >> (32 + 11 * digit)) & (RankWork::kRadix - 1)]++] = key;
    work.keys.swap(work.spare);
  }
}

// Ranks 1..n of work.values (finite), ties share their average rank. Returns false when all values are equal.
bool averageRanks(RankWork& work, std::vector<double>& ranks) {
  const size_t n = work.values.size();
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(work.values[i] + 0.f);  // -0 becomes 0: they are equal
    const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
    work.keys[i] = static_cast<uint64_t>(ordered) << 32 | i;
  }
  sortKeys(work);
  size_t begin = 0;
  while (begin < n) {
    size_t end = begin + 1;
    const uint64_t value = work.keys[begin] >> 32;
    while (end < n && work.keys[end] >> 32 == value) ++end;
    const double rank = 0.5 * static_cast<double>(begin + 1 + end);
    for (size_t i = begin; i < end; ++i) ranks[work.keys[i] & 0xffffffffu] = rank;
    if (begin == 0 && end == n) return false;
    begin = end;
  }
  return true;
}

enum class RankResult { defined, constant, nonFinite };

RankResult correlate(const float* predicted, const float* actual, int64_t models, int64_t stride, RankWork& work, double& correlation) {
  correlation = kNaN;
  RankResult result = RankResult::defined;
  for (const auto& [data, ranks] : {std::pair{predicted, &work.first}, std::pair{actual, &work.second}}) {
    for (int64_t m = 0; m < models; ++m) {
      const float value = data[m * stride];
      if (!std::isfinite(value)) return RankResult::nonFinite;
      work.values[static_cast<size_t>(m)] = value;
    }
    if (!averageRanks(work, *ranks)) result = RankResult::constant;
  }
  if (result != RankResult::defined) return result;
  const double mean = 0.5 * static_cast<double>(models + 1);
  double cross = 0, squareA = 0, squareB = 0;
  for (size_t m = 0; m < work.first.size(); ++m) {
    const double a = work.first[m] - mean, b = work.second[m] - mean;
    cross += a * b;
    squareA += a * a;
    squareB += b * b;
  }
  correlation = cross / std::sqrt(squareA * squareB);
  return result;
}

}  // namespace

Status checkLabels(const int32_t* labels, int64_t points, int64_t classes) {
  if (classes < 2 || classes > 255) {
    return Status::error("LETHE_CLASSES_INVALID", "expected 2 to 255 classes; received " + std::to_string(classes) + ".");
  }
  for (int64_t p = 0; p < points; ++p) {
    if (labels[p] < 0 || labels[p] >= classes) {
      return Status::error("LETHE_LABEL_INVALID", "expected labels from 0 to " + std::to_string(classes - 1) + "; received " + std::to_string(labels[p]) +
                                                      " at point " + std::to_string(p) + ".");
    }
  }
  return Status::success();
}

Status marginsFromLogits(const float* logits, const int32_t* labels, int64_t models, int64_t points, int64_t classes, int threads, float* margins,
                         uint8_t* predicted, const TaskControl& control) {
  const Status checked = checkLabels(labels, points, classes);
  if (!checked.ok()) return checked;
  return overBlocks(models * points, 4096, threads, control, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) margins[i] = marginOf(logits + i * classes, classes, labels[i % points], predicted[i]);
  });
}

Status moments(const float* margins, int64_t models, int64_t points, int threads, double* mean, double* variance, int32_t* nonFinite,
               const TaskControl& control) {
  return overBlocks(points, kBlock, threads, control, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      double sum = 0, square = 0;
      int64_t count = 0;
      for (int64_t m = 0; m < models; ++m) {
        const double value = margins[m * points + p];
        if (std::isfinite(value)) sum += value, ++count;
      }
      mean[p] = count ? sum / static_cast<double>(count) : kNaN;
      for (int64_t m = 0; m < models; ++m) {
        const double value = margins[m * points + p];
        if (std::isfinite(value)) square += (value - mean[p]) * (value - mean[p]);
      }
      variance[p] = count > 1 ? square / static_cast<double>(count - 1) : count ? 0 : kNaN;
      nonFinite[p] = static_cast<int32_t>(models - count);
    }
  });
}

Status spearman(const float* predicted, const float* actual, int64_t models, int64_t points, int64_t stride, int threads, double* correlation,
                int64_t& numConstant, int64_t& numNonFinite, const TaskControl& control) {
  std::atomic<int64_t> constant{0}, bad{0};
  const Status status = overBlocks(points, kBlock, threads, control, [&](int64_t begin, int64_t end) {
    RankWork work(static_cast<size_t>(models));
    for (int64_t p = begin; p < end; ++p) {
      const RankResult result = correlate(predicted + p, actual + p, models, stride, work, correlation[p]);
      if (result == RankResult::constant) ++constant;
      if (result == RankResult::nonFinite) ++bad;
    }
  });
  numConstant = constant;
  numNonFinite = bad;
  return status;
}

Status bootstrapMeans(const double* values, int64_t count, int64_t resamples, uint64_t seed, int threads, double* means, const TaskControl& control) {
  if (count < 1 || count >= int64_t{1} << 32) {
    return Status::error("LETHE_ARGUMENT_INVALID", "values: expected 1 to 2^32 - 1 of them; received " + std::to_string(count) + ".");
  }
  return overBlocks(resamples, 1, threads, control, [&](int64_t resample, int64_t) {
    Random random(seed, Purpose::bootstrap, 2, static_cast<uint32_t>(resample));
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += values[random.below(static_cast<uint32_t>(count))];
    means[resample] = sum / static_cast<double>(count);
  });
}

}  // namespace lethe
