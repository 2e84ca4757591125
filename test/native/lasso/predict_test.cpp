// Predictions on every instruction set against the naive reference: odd sizes, dense and sparse, NaN, threads, damaged entries.
#include "base/check.h"

#include <algorithm>
#include <limits>
#include <random>

#include "lethe/lasso/predict.h"
#include "reference/lasso/predict_reference.h"

using namespace lethe;
using namespace lethe::test;

namespace {

const float kNaN = std::numeric_limits<float>::quiet_NaN();

// Random masks and datamodels in both forms, behind guard words.
struct Case {
  int64_t models, train, targets;
  Guarded<uint8_t> bits;
  Guarded<float> bias, dense, weights;
  Guarded<double> rowStart;
  Guarded<int32_t> indices;

  Case(int64_t m, int64_t n, int64_t t)
      : models(m), train(n), targets(t), bits(m * ((n + 7) / 8)), bias(t), dense(t * n), weights(t * n), rowStart(t + 1), indices(t * n) {
    std::mt19937 random(static_cast<uint32_t>(m * 31 + n * 7 + t));
    std::normal_distribution<float> normal(0.f, 3.f);
    // also the padding bits: they belong to no example and must not count
    for (int64_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint8_t>(random());
    int64_t entries = 0;
    for (int64_t target = 0; target < t; ++target) {
      bias[target] = normal(random);
      rowStart[target] = static_cast<double>(entries);
      for (int64_t j = 0; j < n; ++j) {
        dense[target * n + j] = random() % 3 == 0 ? normal(random) : 0.f;
        if (dense[target * n + j] == 0.f) continue;
        indices[entries] = static_cast<int32_t>(j);
        weights[entries++] = dense[target * n + j];
      }
    }
    rowStart[t] = static_cast<double>(entries);
  }

  MaskView masks() { return {bits.data(), models, train}; }
  DatamodelView view(bool isDense) {
    DatamodelView result;
    result.numTargets = targets;
    result.numTrain = train;
    result.bias = bias.data();
    if (isDense) {
      result.dense = dense.data();
      return result;
    }
    result.rowStart = rowStart.data();
    result.indices = indices.data();
    result.weights = weights.data();
    result.numEntries = static_cast<int64_t>(rowStart[targets]);
    return result;
  }
};

void againstReference(Case& c, bool isDense, const std::vector<Isa>& isas) {
  const DatamodelView view = c.view(isDense);
  Guarded<float> first(c.models * c.targets);
  for (Isa isa : isas) {
    for (int threads : {1, 3}) {
      Guarded<float> predicted(c.models * c.targets);
      const Status status = predict(c.masks(), view, isa, threads, predicted.data(), {});
      int64_t wrong = status.ok() ? 0 : 1;
      for (int64_t i = 0; i < c.models; ++i) {
        for (int64_t t = 0; t < c.targets; ++t) {
          const double expected = reference::predict(c.masks(), view, i, t);
          wrong += !(std::fabs(predicted[i * c.targets + t] - expected) <= 1e-6 * (1 + std::fabs(expected)));
        }
      }
      const std::string what = std::string(isDense ? "dense " : "sparse ") + isaName(isa) + " (" + std::to_string(c.models) + ", " + std::to_string(c.train) +
                               ", " + std::to_string(c.targets) + ") threads " + std::to_string(threads);
      expect(wrong == 0, what + ": " + std::to_string(wrong) + " predictions differ");
      expect(predicted.guardsIntact(), what + ": guard words");
      if (isa == isas.front() && threads == 1) std::copy(predicted.data(), predicted.data() + predicted.size(), first.data());
      expect(std::memcmp(predicted.data(), first.data(), static_cast<size_t>(predicted.size()) * sizeof(float)) == 0,
             what + ": other bits than " + isaName(isas.front()));
    }
  }
}

// A broken target says so and leaves its neighbours alone.
void nonFinite(bool isDense) {
  Case c(70, 33, 20);
  std::vector<float> clean(static_cast<size_t>(c.models * c.targets)), dirty(clean.size());
  predict(c.masks(), c.view(isDense), Isa::portable, 1, clean.data(), {});
  c.bias[5] = kNaN;
  const auto entry = static_cast<int64_t>(c.rowStart[9]);
  const int32_t example = c.indices[entry];
  c.weights[entry] = c.dense[9 * c.train + example] = std::numeric_limits<float>::infinity();
  predict(c.masks(), c.view(isDense), Isa::portable, 1, dirty.data(), {});
  int64_t wrong = 0;
  for (int64_t i = 0; i < c.models; ++i) {
    const bool seen = (c.bits[i * 5 + example / 8] >> (example % 8)) & 1;
    for (int64_t t = 0; t < c.targets; ++t) {
      const auto at = static_cast<size_t>(i * c.targets + t);
      if (t == 5) wrong += !std::isnan(dirty[at]);
      else if (t == 9 && seen) wrong += !std::isinf(dirty[at]);
      else wrong += dirty[at] != clean[at];
    }
  }
  expect(wrong == 0, std::string(isDense ? "dense" : "sparse") + ": non-finite numbers stay where they belong");
}

void refusals() {
  Case c(9, 17, 4);
  std::vector<float> predicted(36);
  const auto code = [&](const DatamodelView& view) { return predict(c.masks(), view, Isa::portable, 1, predicted.data(), {}).code; };
  c.indices[2] = 17;
  expect(code(c.view(false)) == "LETHE_ARGUMENT_INVALID", "an example outside the training set is refused");
  c.indices[2] = -1;
  expect(code(c.view(false)) == "LETHE_ARGUMENT_INVALID", "a negative example is refused");
  c.indices[2] = 0;
  c.rowStart[2] = c.rowStart[1] - 1;
  expect(code(c.view(false)) == "LETHE_ARGUMENT_INVALID", "rows that fall are refused");
  c.rowStart[2] = kNaN;
  expect(code(c.view(false)) == "LETHE_ARGUMENT_INVALID", "a row start that is no number is refused");
  DatamodelView other = c.view(true);
  other.numTrain = 18;
  expect(code(other) == "LETHE_ARGUMENT_INVALID", "masks of another training set are refused");
  std::atomic<int32_t> flag{1};
  TaskControl control;
  control.abortFlag = &flag;
  expect(predict(c.masks(), c.view(true), Isa::portable, 1, predicted.data(), control).code == "LETHE_TASK_ABORTED", "abort is seen");
}

}  // namespace

int main() {
  const std::vector<Isa> isas = availableIsas();
  for (Isa isa : {Isa::avx2, Isa::avx512}) {
    if (std::find(isas.begin(), isas.end(), isa) == isas.end()) skip(std::string("predict: no ") + isaName(isa) + " here");
  }
  const int64_t sizes[][3] = {{1, 1, 1}, {1, 0, 3}, {3, 8, 0}, {0, 9, 3}, {31, 63, 7}, {64, 64, 8}, {65, 257, 33}, {257, 31, 17}, {130, 1000, 40}};
  for (const auto& [models, train, targets] : sizes) {
    for (bool isDense : {true, false}) {
      Case c(models, train, targets);
      againstReference(c, isDense, isas);
    }
  }
  for (bool isDense : {true, false}) nonFinite(isDense);
  refusals();
  return finish();
}
