// Evaluation ops on every instruction set against the naive reference: odd sizes, ties on bin edges, extreme and non-finite values.
#include "base/check.h"

#include <algorithm>
#include <limits>
#include <random>

#include "lethe/base/random.h"
#include "lethe/evaluate/evaluate.h"
#include "reference/evaluate/reference.h"

using namespace lethe;
using namespace lethe::test;

namespace {

const float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Case {
  const char* name;
  int64_t oracles, unlearned, points, bins;
  float (*value)(std::mt19937&, bool unlearnedSide);
};

float gaussian(std::mt19937& random, bool unlearnedSide) { return std::normal_distribution<float>(unlearnedSide ? 1.f : 3.f, 2.f)(random); }
// Small integers: with 20 bins most values lie on an edge, and points may be constant.
float integer(std::mt19937& random, bool) { return static_cast<float>(static_cast<int>(random() % 5)) - 2.f; }
float extreme(std::mt19937& random, bool) {
  const float choices[] = {-1e30f, -100.f, -99.9999f, 0.f, 1e-38f, 100.f, 101.f, 3e38f};
  return choices[random() % 8];
}
float broken(std::mt19937& random, bool unlearnedSide) {
  const uint32_t draw = random() % 40;
  return draw == 0 ? kNaN : draw == 1 ? kInf : draw == 2 ? -kInf : gaussian(random, unlearnedSide);
}
float offset(std::mt19937& random, bool) { return 90.f + 1e-4f * static_cast<float>(random() % 1000); }

const Case kCases[] = {{"gaussian", 100, 100, 257, 20, gaussian},
                       {"one model a side", 1, 1, 33, 20, gaussian},
                       {"one point", 7, 3, 1, 20, gaussian},
                       {"many models", 300, 129, 31, 20, gaussian},
                       {"many bins", 50, 50, 65, 32, gaussian},
                       {"more bins than lanes count", 40, 40, 40, 200, gaussian},
                       {"two bins", 40, 41, 70, 2, gaussian},
                       {"integers on edges", 20, 21, 300, 20, integer},
                       {"extreme values", 9, 8, 129, 20, extreme},
                       {"non-finite values", 30, 30, 200, 20, broken},
                       {"narrow range far from zero", 60, 60, 100, 20, offset},
                       {"no points", 5, 5, 0, 20, gaussian}};
const KlomVariant kVariants[] = {KlomVariant::standard, KlomVariant::paperFixed, KlomVariant::researchCode, KlomVariant::easydub};

reference::Sample column(Guarded<float>& matrix, int64_t models, int64_t points, int64_t point) {
  reference::Sample sample;
  for (int64_t m = 0; m < models; ++m) sample.push_back(matrix[m * points + point]);
  return sample;
}

bool sameScore(double a, double b) { return (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) < 1e-11; }

void klomAgainstReference(const Case& c, Isa isa) {
  std::mt19937 random(7);
  Guarded<float> oracle(c.oracles * c.points), unlearned(c.unlearned * c.points);
  for (int64_t i = 0; i < oracle.size(); ++i) oracle[i] = c.value(random, false);
  for (int64_t i = 0; i < unlearned.size(); ++i) unlearned[i] = c.value(random, true);
  for (KlomVariant variant : kVariants) {
    for (int threads : {1, 3}) {
      Guarded<double> scores(c.points);
      Guarded<int32_t> nonFinite(c.points);
      KlomOptions options;
      options.variant = variant;
      options.bins = c.bins;
      options.isa = isa;
      options.threads = threads;
      const Status status = klom({oracle.data(), unlearned.data(), c.oracles, c.unlearned, c.points}, options, scores.data(), nonFinite.data(), {});
      int64_t wrong = status.ok() ? 0 : 1, wrongCounts = 0;
      for (int64_t p = 0; p < c.points; ++p) {
        const reference::Sample o = column(oracle, c.oracles, c.points, p), u = column(unlearned, c.unlearned, c.points, p);
        wrong += !sameScore(scores[p], reference::klom(options, o, u));
        int32_t bad = 0;
        for (const reference::Sample* side : {&o, &u}) {
          for (double value : *side) bad += !std::isfinite(value);
        }
        wrongCounts += nonFinite[p] != bad;
      }
      const std::string what =
          std::string("klom ") + c.name + " " + isaName(isa) + " variant " + std::to_string(static_cast<int>(variant)) + " threads " + std::to_string(threads);
      expect(wrong == 0 && wrongCounts == 0, what + ": " + std::to_string(wrong) + " scores, " + std::to_string(wrongCounts) + " counts differ");
      expect(scores.guardsIntact() && nonFinite.guardsIntact() && oracle.guardsIntact() && unlearned.guardsIntact(), what + ": guard words");
    }
  }
}

void klomClosedForms() {
  KlomOptions options;
  const float same[] = {2, 2, 2, 2}, low[] = {-1, -1, -1, -1}, high[] = {1, 1, 1, 1};
  double score = -1;
  int32_t bad = -1;
  expect(klom({same, same, 4, 4, 1}, options, &score, &bad, {}).ok() && score == 0 && bad == 0, "equal margins score 0");
  klom({low, high, 4, 4, 1}, options, &score, &bad, {});
  expect(std::fabs(score - std::log(1e5) * (1 - 1e-5)) < 1e-12, "disjoint samples score the cap ln(1e5)");
  options.bins = 1;
  expect(klom({low, high, 4, 4, 1}, options, &score, &bad, {}).code == "LETHE_BINS_INVALID", "one bin is refused");
  options.bins = 20;
  expect(klom({low, high, 0, 4, 1}, options, &score, &bad, {}).code == "LETHE_MODELS_MISSING", "no oracle is refused");
  std::atomic<int32_t> flag{1};
  TaskControl control;
  control.abortFlag = &flag;
  expect(klom({low, high, 4, 4, 1}, options, &score, &bad, control).code == "LETHE_TASK_ABORTED", "abort is seen");
}

void marginsAgainstReference() {
  const int64_t models = 3, points = 41, classes = 10;
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0.f, 4.f);
  Guarded<float> logits(models * points * classes), margins(models * points);
  Guarded<int32_t> labels(points);
  Guarded<uint8_t> predicted(models * points);
  for (int64_t i = 0; i < logits.size(); ++i) logits[i] = normal(random);
  for (int64_t p = 0; p < points; ++p) labels[p] = static_cast<int32_t>(random() % 10);
  logits[5 * classes + 3] = kNaN;
  logits[6 * classes + (labels[6] + 1) % 10] = 3e4f;  // overflows exp without the shift
  const Status status = marginsFromLogits(logits.data(), labels.data(), models, points, classes, 2, margins.data(), predicted.data(), {});
  int64_t wrong = 0;
  for (int64_t i = 0; i < models * points; ++i) {
    if (i == 5 || i == 6) continue;
    reference::Sample row;
    for (int64_t c = 0; c < classes; ++c) row.push_back(logits[i * classes + c]);
    const double expected = reference::margin(row, static_cast<size_t>(labels[i % points]));
    wrong += !(std::fabs(margins[i] - expected) <= 1e-6 * (1 + std::fabs(expected)));
    wrong += predicted[i] != std::max_element(row.begin(), row.end()) - row.begin();
  }
  expect(status.ok() && wrong == 0, "margins and predictions agree with the reference");
  expect(std::isnan(margins[5]) && predicted[5] == 255, "a NaN logit gives no prediction");
  expect(std::fabs(margins[6] - (logits[6 * classes + labels[6]] - 3e4f)) < 0.01, "large logits do not overflow");
  expect(margins.guardsIntact() && predicted.guardsIntact(), "margins: guard words");
  labels[40] = 10;
  expect(marginsFromLogits(logits.data(), labels.data(), models, points, classes, 1, margins.data(), predicted.data(), {}).code == "LETHE_LABEL_INVALID",
         "a label out of range is refused");
}

// Enough models for the counting sort; both zeros are equal, infinities are refused, extremes keep their order.
void ranksOfManyModels() {
  const int64_t models = 700, points = 9;
  std::mt19937 random(17);
  Guarded<float> a(models * points), b(models * points);
  for (int64_t i = 0; i < a.size(); ++i) {
    const int64_t point = i % points;
    a[i] = point < 3 ? gaussian(random, false) : point < 6 ? integer(random, false) * (random() % 2 ? 1.f : -1.f) : extreme(random, false);
    b[i] = point % 3 == 2 ? integer(random, true) : gaussian(random, true) + a[i] * 1e-3f;
  }
  Guarded<double> correlation(points);
  int64_t constant = -1, bad = -1, wrong = 0;
  spearman(a.data(), b.data(), models, points, points, 2, correlation.data(), constant, bad, {});
  for (int64_t p = 0; p < points; ++p) {
    wrong += !(std::fabs(correlation[p] - reference::spearman(column(a, models, points, p), column(b, models, points, p))) <= 1e-12);
  }
  expect(wrong == 0 && constant == 0 && bad == 0, "spearman of many models agrees with ranks by counting");
  expect(correlation.guardsIntact(), "ranks of many models: guard words");
}

void ranksAndMoments() {
  const int64_t models = 37, points = 130;
  std::mt19937 random(13);
  Guarded<float> a(models * points), b(models * points);
  for (int64_t i = 0; i < a.size(); ++i) a[i] = gaussian(random, false), b[i] = integer(random, false) + 0.3f * a[i];
  for (int64_t m = 0; m < models; ++m) a[m * points + 3] = 5;                         // constant
  for (int64_t i = 0; i < a.size(); i += points) b[i + 4] = integer(random, false);  // ties
  b[9 * points + 7] = kNaN;
  Guarded<double> correlation(points), mean(points), variance(points);
  Guarded<int32_t> nonFinite(points);
  int64_t constant = -1, bad = -1, wrong = 0;
  spearman(a.data(), b.data(), models, points, points, 2, correlation.data(), constant, bad, {});
  for (int64_t p = 0; p < points; ++p) {
    if (p == 3 || p == 7) continue;
    wrong += std::fabs(correlation[p] - reference::spearman(column(a, models, points, p), column(b, models, points, p))) > 1e-12;
  }
  expect(wrong == 0, "spearman agrees with ranks by counting");
  expect(std::isnan(correlation[3]) && std::isnan(correlation[7]) && constant == 1 && bad == 1, "constant and non-finite points are NaN and counted");

  moments(b.data(), models, points, 2, mean.data(), variance.data(), nonFinite.data(), {});
  wrong = 0;
  for (int64_t p = 0; p < points; ++p) {
    double sum = 0, square = 0, count = 0;
    for (double value : column(b, models, points, p)) {
      if (std::isfinite(value)) sum += value, square += value * value, count += 1;
    }
    wrong += std::fabs(mean[p] - sum / count) > 1e-12 || std::fabs(variance[p] - (square - sum * sum / count) / (count - 1)) > 1e-10;
    wrong += nonFinite[p] != (p == 7 ? 1 : 0);
  }
  expect(wrong == 0, "moments over finite values");
  expect(correlation.guardsIntact() && mean.guardsIntact() && variance.guardsIntact() && nonFinite.guardsIntact(), "ranks, moments: guard words");
}

// Neighbours against all distances sorted; both by their means over many draws of known distributions, at the null and away from it.
void divergencesWithoutBias() {
  struct Draw {
    int64_t n, m;
    double shift, width;
    double neighbours;  // what 5 neighbours of so few are off by at most: the density changes over their distance
  };
  for (const Draw& c : {Draw{100, 100, 0, 1, 0.02}, Draw{40, 40, 0, 1, 0.02}, Draw{100, 40, 1, 1.5, 0.05}, Draw{20, 60, -0.5, 0.8, 0.12}}) {
    const int64_t points = 4000;
    Guarded<float> oracle(c.n * points), unlearned(c.m * points);
    Random random(11, Purpose::synthetic, static_cast<uint64_t>(c.n * 1000 + c.m));
    for (int64_t i = 0; i < c.n * points; ++i) oracle[i] = static_cast<float>(3 + 2 * random.normal());
    for (int64_t i = 0; i < c.m * points; ++i) unlearned[i] = static_cast<float>(3 + 2 * (c.shift + c.width * random.normal()));
    oracle[5] = NAN;  // left out
    Guarded<double> gaussian(points), neighbours(points), again(points), alone(points);
    const KlomMargins margins{oracle.data(), unlearned.data(), c.n, c.m, points};
    const std::string at = std::to_string(c.n) + " and " + std::to_string(c.m) + " models";
    expect(divergences(margins, 100, 3, gaussian.data(), neighbours.data(), {}).ok(), "divergences: " + at);
    divergences(margins, 100, 1, again.data(), alone.data(), {});
    int64_t wrong = 0;
    double mean = 0, square = 0, byNeighbours = 0;
    for (int64_t p = 0; p < points; ++p) {
      wrong += gaussian[p] != again[p] || neighbours[p] != alone[p];
      mean += gaussian[p] / static_cast<double>(points);
      square += gaussian[p] * gaussian[p] / static_cast<double>(points);
      byNeighbours += neighbours[p] / static_cast<double>(points);
      if (p >= 200 || p == 5) continue;
      const double naive = reference::neighbourDivergence(column(oracle, c.n, points, p), column(unlearned, c.m, points, p), kNeighbours);
      wrong += std::fabs(naive - neighbours[p]) > 1e-9;
    }
    expect(wrong == 0, "neighbours by sorted distances, on any threads: " + at);
    const double truth = reference::normalDivergence(0, 1, c.shift, c.width), error = std::sqrt((square - mean * mean) / static_cast<double>(points));
    expect(std::fabs(mean - truth) < 4 * error, "normal divergence without bias: " + at + ", " + std::to_string(mean) + " of " + std::to_string(truth));
    expect(std::fabs(byNeighbours - truth) < c.neighbours,
           "neighbours nearly without: " + at + ", " + std::to_string(byNeighbours) + " of " + std::to_string(truth));
    expect(gaussian.guardsIntact() && neighbours.guardsIntact(), "divergences: guard words");
  }
  const float same[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, spread[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  double gaussian = 0, neighbours = 0;
  divergences({same, same, 12, 12, 1}, 100, 1, &gaussian, &neighbours, {});
  expect(gaussian == 0 && neighbours == 0, "all margins equal: nothing between them");
  divergences({spread, same, 12, 12, 1}, 100, 1, &gaussian, &neighbours, {});
  expect(std::isinf(gaussian) && std::isfinite(neighbours), "constant unlearned margins are no distribution");
  // the mean of equal values is not always that value in floating point
  for (const float value : {0.1f, 1.0f, -3.3f, 250.0f}) {
    for (const int64_t models : {12, 40, 100}) {
      const std::vector<float> constant(models, value);
      std::vector<float> varied(models);
      for (int64_t m = 0; m < models; ++m) varied[m] = static_cast<float>(m);
      const std::string at = std::to_string(value) + " in " + std::to_string(models) + " models";
      divergences({constant.data(), constant.data(), models, models, 1}, 100, 1, &gaussian, &neighbours, {});
      expect(gaussian == 0 && neighbours == 0, "constants: " + at);
      divergences({varied.data(), constant.data(), models, models, 1}, 100, 1, &gaussian, &neighbours, {});
      expect(std::isinf(gaussian), "unlearned models that all say " + at);
      divergences({constant.data(), varied.data(), models, models, 1}, 100, 1, &gaussian, &neighbours, {});
      expect(std::isinf(gaussian), "oracles that all say " + at);
    }
  }
  divergences({spread, spread, 5, 3, 1}, 100, 1, &gaussian, &neighbours, {});
  expect(std::isnan(gaussian) && std::isnan(neighbours), "too few models say nothing");
  expect(divergences({spread, spread, 12, 0, 1}, 100, 1, &gaussian, &neighbours, {}).code == "LETHE_MODELS_MISSING", "no models are refused");
}

// Against the definition with the same random streams; other threads and fewer resamples give the same bits.
void bootstrap() {
  const int64_t count = 37, resamples = 20;
  Guarded<double> values(count), means(resamples), fewer(7);
  for (int64_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<double>(i));
  const Status status = bootstrapMeans(values.data(), count, resamples, 5, 3, means.data(), {});
  int64_t wrong = status.ok() ? 0 : 1;
  for (int64_t k = 0; k < resamples; ++k) {
    Random random(5, Purpose::bootstrap, 2, static_cast<uint32_t>(k));
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += values[random.below(37)];
    wrong += means[k] != sum / 37;
  }
  bootstrapMeans(values.data(), count, 7, 5, 1, fewer.data(), {});
  for (int64_t k = 0; k < 7; ++k) wrong += fewer[k] != means[k];
  expect(wrong == 0 && means[0] != means[1], "bootstrap means are those of the definition");
  expect(means.guardsIntact() && fewer.guardsIntact(), "bootstrap: guard words");
  expect(bootstrapMeans(values.data(), 0, 7, 5, 1, fewer.data(), {}).code == "LETHE_ARGUMENT_INVALID", "no values are refused");
}

}  // namespace

int main() {
  const std::vector<Isa> isas = availableIsas();
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (std::find(isas.begin(), isas.end(), isa) == isas.end()) {
      skip(std::string("klom: no ") + isaName(isa) + " here");
      continue;
    }
    for (const Case& c : kCases) klomAgainstReference(c, isa);
  }
  klomClosedForms();
  marginsAgainstReference();
  ranksAndMoments();
  ranksOfManyModels();
  divergencesWithoutBias();
  bootstrap();
  return finish();
}
