// Random problems and a naive Lasso that the tests of the datamodel fit share.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "lethe/base/random.h"
#include "lethe/lasso/fit.h"
#include "reference/lasso/reference.h"

namespace lethe::test {

struct Problem {
  int64_t models = 0, examples = 0, targets = 0;
  std::vector<uint8_t> mask, bits;  // (models, examples) dense, and packed
  std::vector<float> values;        // (models, targets)

  // Sparse truths with noise. density: share of the models that see an example, in 256ths.
  Problem(int64_t m, int64_t n, int64_t t, uint64_t seed, uint32_t density = 128, double noise = 1)
      : models(m), examples(n), targets(t), mask(m * n), values(m * t) {
    Random random(seed, Purpose::synthetic, 0);
    for (uint8_t& bit : mask) bit = random.below(256) < density;
    for (int64_t k = 0; k < t; ++k) {
      std::vector<double> truth(n);
      for (double& weight : truth) weight = random.below(4) == 0 ? random.normal() : 0;
      for (int64_t i = 0; i < m; ++i) {
        double sum = 3 + noise * random.normal();
        for (int64_t j = 0; j < n; ++j) sum += truth[j] * mask[i * n + j];
        values[i * t + k] = static_cast<float>(sum);
      }
    }
    pack();
  }

  // After a change of the mask.
  void pack() {
    const int64_t rowBytes = (examples + 7) / 8;
    bits.assign(models * rowBytes, 0);
    for (int64_t i = 0; i < models; ++i) {
      for (int64_t j = 0; j < examples; ++j) bits[i * rowBytes + j / 8] |= static_cast<uint8_t>(mask[i * examples + j] << (j % 8));
    }
  }

  void copyColumn(int64_t from, int64_t to) {
    for (int64_t i = 0; i < models; ++i) mask[i * examples + to] = mask[i * examples + from];
    pack();
  }
  void fillColumn(int64_t j, uint8_t bit) {
    for (int64_t i = 0; i < models; ++i) mask[i * examples + j] = bit;
    pack();
  }

  // The same with model i counts[i] times: 0 leaves it out.
  Problem repeated(const std::vector<uint8_t>& counts) const {
    Problem other = *this;
    other.mask.clear();
    other.values.clear();
    for (int64_t i = 0; i < models; ++i) {
      for (int c = 0; c < counts[i]; ++c) {
        other.mask.insert(other.mask.end(), mask.begin() + i * examples, mask.begin() + (i + 1) * examples);
        other.values.insert(other.values.end(), values.begin() + i * targets, values.begin() + (i + 1) * targets);
      }
    }
    other.models = static_cast<int64_t>(other.mask.size()) / examples;
    other.pack();
    return other;
  }

  MaskView maskView() const { return {bits.data(), models, examples}; }
  TargetView targetView() const { return {values.data(), targets, targets, nullptr, 1}; }
  TargetView targetsFrom(int64_t from, int64_t count) const { return {values.data() + from, count, targets, nullptr, 1}; }
  reference::LassoProblem column(int64_t t) const {
    reference::LassoProblem problem{models, examples, mask, {}};
    for (int64_t i = 0; i < models; ++i) problem.target.push_back(static_cast<double>(values[i * targets + t]));
    return problem;
  }
};

// A dense Lasso in double precision that can do what reference::lassoSolve does not: row weights, column factors, warm starts.
class Naive {
 public:
  Naive(const Problem& problem, int64_t t, const std::vector<uint8_t>& counts, bool standardise = false)
      : problem_(problem), n_(problem.examples), average_(n_), q_(n_), factor_(n_, 1.0), h_(n_ * n_) {
    double total = 0;
    for (int64_t i = 0; i < problem.models; ++i) {
      const double count = counts.empty() ? 1 : counts[i];
      total += count;
      mean_ += count * value(i, t);
      for (int64_t j = 0; j < n_; ++j) average_[j] += count * problem.mask[i * n_ + j];
    }
    mean_ /= total;
    for (double& average : average_) average /= total;
    std::vector<double> row(n_);
    for (int64_t i = 0; i < problem.models; ++i) {
      const double share = (counts.empty() ? 1 : counts[i]) / total, y = value(i, t) - mean_;
      if (share == 0) continue;
      for (int64_t j = 0; j < n_; ++j) row[j] = problem.mask[i * n_ + j] - average_[j];
      square_ += share * y * y;
      for (int64_t j = 0; j < n_; ++j) {
        q_[j] += share * row[j] * y;
        for (int64_t k = 0; k < n_; ++k) h_[j * n_ + k] += share * row[j] * row[k];
      }
    }
    for (int64_t j = 0; j < n_; ++j) {
      if (average_[j] == 0 || average_[j] == 1) q_[j] = 0;  // constant: rounding noise only
      else if (standardise) factor_[j] = std::sqrt(h_[j * n_ + j]);
    }
  }

  double lambdaMax() const {
    double largest = 0;
    for (int64_t j = 0; j < n_; ++j) largest = std::max(largest, std::fabs(q_[j]) / factor_[j]);
    return largest;
  }

  // Coordinate descent from `weight` until no weight changes by more than 1e-11 of the largest.
  void solve(double lambda, std::vector<double>& weight, double stop = 1e-11) const {
    std::vector<double> g = gradient(weight);
    for (int sweep = 0; sweep < 20000; ++sweep) {
      double moved = 0, largest = 0;
      for (int64_t j = 0; j < n_; ++j) {
        const double square = h_[j * n_ + j];
        if (average_[j] == 0 || average_[j] == 1) continue;
        const double pull = g[j] + square * weight[j];
        const double after = std::copysign(std::max(std::fabs(pull) - lambda * factor_[j], 0.0), pull) / square, change = after - weight[j];
        weight[j] = after;
        moved = std::max(moved, std::fabs(change));
        largest = std::max(largest, std::fabs(after));
        if (change == 0) continue;
        for (int64_t k = 0; k < n_; ++k) g[k] -= change * h_[j * n_ + k];
      }
      if (moved <= stop * largest) return;
    }
  }

  double bias(const std::vector<double>& weight) const {
    double sum = mean_;
    for (int64_t j = 0; j < n_; ++j) sum -= weight[j] * average_[j];
    return sum;
  }

  double predict(int64_t model, const std::vector<double>& weight) const {
    double sum = bias(weight);
    for (int64_t j = 0; j < n_; ++j) sum += weight[j] * problem_.mask[model * n_ + j];
    return sum;
  }

  double objective(double lambda, const std::vector<double>& weight) const {
    const std::vector<double> g = gradient(weight);
    double twice = square_, absolute = 0;
    for (int64_t j = 0; j < n_; ++j) {
      twice -= weight[j] * (q_[j] + g[j]);
      absolute += factor_[j] * std::fabs(weight[j]);
    }
    return twice / 2 + lambda * absolute;
  }

  double relativeGap(double lambda, const std::vector<double>& weight) const {
    const std::vector<double> g = gradient(weight);
    double squares = square_, product = square_, largest = 0;
    for (int64_t j = 0; j < n_; ++j) {
      squares -= weight[j] * (q_[j] + g[j]);
      product -= weight[j] * q_[j];
      largest = std::max(largest, std::fabs(g[j]) / factor_[j]);
    }
    double s = squares > 0 ? product / squares : 0;
    if (largest > 0) s = std::min(s, lambda / largest);
    return 2 * (objective(lambda, weight) - (s * product - s * s * squares / 2)) / square_;
  }

  double correlation(int64_t j) const { return q_[j]; }
  double variance(int64_t j) const { return h_[j * n_ + j]; }
  double factor(int64_t j) const { return factor_[j]; }
  double meanSquare() const { return square_; }

 private:
  double value(int64_t i, int64_t t) const { return static_cast<double>(problem_.values[i * problem_.targets + t]); }
  std::vector<double> gradient(const std::vector<double>& weight) const {
    std::vector<double> g = q_;
    for (int64_t j = 0; j < n_; ++j) {
      if (weight[j] == 0) continue;
      for (int64_t k = 0; k < n_; ++k) g[k] -= weight[j] * h_[j * n_ + k];
    }
    return g;
  }

  const Problem& problem_;
  int64_t n_;
  double mean_ = 0, square_ = 0;  // of the target: mean, mean square of the centred one
  std::vector<double> average_, q_, factor_, h_;
};

inline std::vector<double> dense(const TargetFit& fit, int64_t n) {
  std::vector<double> weight(n, 0.0);
  for (size_t k = 0; k < fit.indices.size(); ++k) weight[fit.indices[k]] = static_cast<double>(fit.weights[k]);
  return weight;
}

inline bool same(const TargetFit& a, const TargetFit& b) {
  return a.status == b.status && std::memcmp(&a.bias, &b.bias, sizeof a.bias) == 0 && std::memcmp(&a.gap, &b.gap, sizeof a.gap) == 0 &&
         std::memcmp(&a.lambda, &b.lambda, sizeof a.lambda) == 0 && a.indices == b.indices && a.weights == b.weights;
}

// Largest difference of bias and weights.
inline double difference(const TargetFit& a, const TargetFit& b, int64_t n) {
  const std::vector<double> left = dense(a, n), right = dense(b, n);
  double largest = std::fabs(static_cast<double>(a.bias) - static_cast<double>(b.bias));
  for (int64_t j = 0; j < n; ++j) largest = std::max(largest, std::fabs(left[j] - right[j]));
  return std::isnan(largest) ? HUGE_VAL : largest;
}

// expect() that prints nothing but counts, so that a property over many problems reports its first failures only.
inline bool quietly(bool condition, const std::string& what) {
  static int printed = 0;
  if (condition || printed++ < 40) return expect(condition, what);
  ++failed;
  return false;
}

constexpr int64_t kManyTargets = 1000;  // a design for so many targets keeps tables of Gram counts

inline std::shared_ptr<const LassoDesign> open(const Problem& problem, const FitOptions& options, int64_t numTargets) {
  std::shared_ptr<const LassoDesign> design;
  const Status status = openDesign(problem.maskView(), options, numTargets, TaskControl{}, design);
  quietly(status.ok(), "the design opens: " + status.message);
  return design;
}

inline std::vector<TargetFit> fit(const LassoDesign& design, const TargetView& targets, const FitOptions& options) {
  std::vector<TargetFit> fits;
  const Status status = fitDatamodels(design, targets, options, TaskControl{}, fits);
  quietly(status.ok() && static_cast<int64_t>(fits.size()) == targets.numTargets, "the fit succeeds: " + status.message);
  fits.resize(targets.numTargets);
  return fits;
}

inline std::vector<TargetFit> fit(const Problem& problem, const FitOptions& options, int64_t numTargets = kManyTargets) {
  return fit(*open(problem, options, numTargets), problem.targetView(), options);
}

inline FitOptions single(double lambda, double gapTolerance = 1e-4) {
  FitOptions options;
  options.threads = 1;
  options.lambda = lambda;
  options.gapTolerance = gapTolerance;
  return options;
}

// Model i is held out with fold (i / stride) % folds whenever i % stride == 0.
inline FitOptions selecting(int64_t models, int32_t folds, int64_t stride) {
  FitOptions options;
  options.threads = 1;
  for (int64_t i = 0; i < models; ++i) options.fold.push_back(i % stride == 0 ? static_cast<int32_t>(i / stride % folds) : -1);
  return options;
}

}  // namespace lethe::test
