#include "reference/evaluate/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lethe::reference {

namespace {

Sample finiteOf(const Sample& sample) {
  Sample kept;
  for (double value : sample) {
    if (std::isfinite(value)) kept.push_back(value);
  }
  return kept;
}

Sample clipped(Sample sample, double clip) {
  for (double& value : sample) value = std::min(std::max(value, -clip), clip);
  return sample;
}

// Share of the sample in each bin; the top edge belongs to the last bin (closed) or to none (open).
Sample histogram(const Sample& sample, double low, double high, int64_t bins, bool closed) {
  Sample shares(static_cast<size_t>(bins), 0.0);
  double counted = 0;
  const double step = (high - low) / static_cast<double>(bins);
  for (double value : sample) {
    if (value >= high && !closed) continue;
    size_t bin = 0;
    for (int64_t k = 1; k < bins; ++k) {
      if (value >= static_cast<double>(k) * step + low) bin = static_cast<size_t>(k);
    }
    shares[bin] += 1;
    counted += 1;
  }
  for (double& share : shares) share = counted > 0 ? share / counted : 0;
  return shares;
}

double ordered(Sample from, Sample to, bool epsilonBothWays, double epsilon) {
  double sum = 0;
  for (size_t b = 0; b < from.size(); ++b) {
    if (from[b] == 0 && (to[b] == 0 || !epsilonBothWays)) continue;
    if (from[b] == 0) from[b] = epsilon;
    if (to[b] == 0) to[b] = epsilon;
    sum += from[b] * std::log(from[b] / to[b]);
  }
  return sum;
}

}  // namespace

double klom(const KlomOptions& options, const Sample& oracleAll, const Sample& unlearnedAll) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Sample oracle = finiteOf(oracleAll), unlearned = finiteOf(unlearnedAll);
  if (oracle.empty() || unlearned.empty()) return nan;
  unlearned = clipped(unlearned, options.clip);
  if (options.variant != KlomVariant::researchCode) oracle = clipped(oracle, options.clip);
  double low = std::min(*std::min_element(oracle.begin(), oracle.end()), *std::min_element(unlearned.begin(), unlearned.end()));
  double high = std::max(*std::max_element(oracle.begin(), oracle.end()), *std::max_element(unlearned.begin(), unlearned.end()));
  if (options.variant == KlomVariant::paperFixed) low = -options.clip, high = options.clip;
  if (low == high) return 0;
  switch (options.variant) {
    case KlomVariant::standard:
    case KlomVariant::paperFixed:
      return ordered(histogram(oracle, low, high, options.bins, true), histogram(unlearned, low, high, options.bins, true), true, options.epsilon);
    case KlomVariant::easydub: {
      const Sample p = histogram(unlearned, low, high, options.bins, false);
      Sample q = histogram(oracle, low, high, options.bins, false);
      for (double& share : q) share = std::max(share, options.epsilon);
      return ordered(p, q, false, options.epsilon);
    }
    case KlomVariant::researchCode: {
      Sample p = histogram(unlearned, low, high, options.bins - 1, false);
      Sample q = histogram(oracle, low, high, options.bins - 1, false);
      if (std::all_of(p.begin(), p.end(), [](double share) { return share == 0; })) return nan;
      p.push_back(0);  // the bin below the range
      q.push_back(0);
      double mass = 0;
      for (double& share : q) mass += share = std::max(share, options.epsilon);
      for (double& share : q) share /= mass;
      return ordered(p, q, false, options.epsilon);
    }
  }
  return nan;
}

double neighbourDivergence(const Sample& oracle, const Sample& unlearned, size_t k) {
  double sum = 0;
  for (size_t i = 0; i < oracle.size(); ++i) {
    Sample own, other;
    for (size_t j = 0; j < oracle.size(); ++j) {
      if (j != i) own.push_back(std::fabs(oracle[j] - oracle[i]));
    }
    for (double value : unlearned) other.push_back(std::fabs(value - oracle[i]));
    std::sort(own.begin(), own.end());
    std::sort(other.begin(), other.end());
    sum += std::log(other[k - 1] / own[k - 1]);
  }
  return sum / static_cast<double>(oracle.size()) + std::log(static_cast<double>(unlearned.size()) / static_cast<double>(oracle.size() - 1));
}

double normalDivergence(double m0, double s0, double m1, double s1) { return std::log(s1 / s0) + (s0 * s0 + (m0 - m1) * (m0 - m1)) / (2 * s1 * s1) - 0.5; }

double margin(const Sample& logits, size_t label) {
  double sum = 0;
  for (size_t c = 0; c < logits.size(); ++c) {
    if (c != label) sum += std::exp(logits[c]);
  }
  return logits[label] - std::log(sum);
}

double spearman(const Sample& a, const Sample& b) {
  auto rank = [](const Sample& sample, size_t i) {
    double smaller = 0, equal = 0;
    for (double value : sample) smaller += value < sample[i], equal += value == sample[i];
    return smaller + 0.5 * (equal + 1);
  };
  double cross = 0, squareA = 0, squareB = 0;
  const double mean = 0.5 * static_cast<double>(a.size() + 1);
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = rank(a, i) - mean, y = rank(b, i) - mean;
    cross += x * y;
    squareA += x * x;
    squareB += y * y;
  }
  return cross / std::sqrt(squareA * squareB);
}

}  // namespace lethe::reference
