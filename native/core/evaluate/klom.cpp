// KLOM: blocks of points on worker threads; ranges and histograms come from the kernels, scores from the counts.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "core/base/isa_table.h"
#include "lethe/base/parallel.h"
#include "lethe/evaluate/evaluate.h"

namespace lethe {

LETHE_ISA_TABLE(HistogramKernels, histogramKernels)

Status klomVariantFromName(const std::string& name, KlomVariant& variant) {
  const std::pair<const char*, KlomVariant> known[] = {{"default", KlomVariant::standard},
                                                       {"paper-fixed", KlomVariant::paperFixed},
                                                       {"research-code", KlomVariant::researchCode},
                                                       {"easydub", KlomVariant::easydub}};
  for (const auto& [label, value] : known) {
    if (name == label) {
      variant = value;
      return Status::success();
    }
  }
  return Status::error("LETHE_VARIANT_UNKNOWN", "expected a KLOM variant (default, paper-fixed, research-code, easydub); received \"" + name + "\".");
}

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kBlockBytes = 160 << 10;  // of margins a block of points holds: both sweeps of a block, and the next one, fit the L2 cache
constexpr int64_t kBlocksPerRun = 16;       // neighbouring blocks one worker takes, so that it can prefetch the next one

struct Side {
  const float* data;
  int64_t models;
  bool clipped;
};

double clipTo(double clip, const Side& side, double value) { return side.clipped ? std::clamp(value, -clip, clip) : value; }

// Everything of a call that does not depend on the point.
struct Problem {
  Side oracle, unlearned;
  int64_t points, bins;
  double clip, epsilon;
  bool fixedRange, dropMaximum;
  bool vectors;  // points go through the kernels
  KlomVariant variant;
  const HistogramKernels* kernels;
  // Logarithms of 0..max(numOracles, numUnlearned); entry 0 is unused.
  std::vector<double> logs;
  // Terms of a full point (all margins finite and counted): probability and its logarithm by count, epsilon at 0.
  std::vector<double> oracleShare, oracleLog, unlearnedLog;
};

struct Totals {
  int64_t oracle, unlearned;
};

// D(oracle || unlearned) without renormalisation; a bin empty on one side only has probability epsilon there.
double standardScore(const Problem& problem, const uint32_t* oracle, const uint32_t* unlearned, Totals totals) {
  const double logEpsilon = std::log(problem.epsilon);
  const double logOracle = problem.logs[static_cast<size_t>(totals.oracle)], logUnlearned = problem.logs[static_cast<size_t>(totals.unlearned)];
  double sum = 0;
  for (int64_t b = 0; b < problem.bins; ++b) {
    const uint32_t o = oracle[b], u = unlearned[b];
    if (o == 0 && u == 0) continue;
    const double share = o ? o / static_cast<double>(totals.oracle) : problem.epsilon;
    sum += share * ((o ? problem.logs[o] - logOracle : logEpsilon) - (u ? problem.logs[u] - logUnlearned : logEpsilon));
  }
  return sum;
}

// The same for points [0, 4) of a tile whose margins are all finite, from tables: a bin empty on both sides adds epsilon * 0.
void standardScores4(const Problem& problem, const uint32_t* oracle, const uint32_t* unlearned, int64_t width, double* scores) {
  double sum[4] = {};
  for (int64_t b = 0; b < problem.bins; ++b) {
    for (int p = 0; p < 4; ++p) {
      const uint32_t o = oracle[b * width + p];
      sum[p] += problem.oracleShare[o] * (problem.oracleLog[o] - problem.unlearnedLog[unlearned[b * width + p]]);
    }
  }
  for (int p = 0; p < 4; ++p) scores[p] = sum[p];
}

// D(unlearned || oracle) of the published codes; totals are of the counted margins, without those at the dropped maximum.
double publishedScore(const Problem& problem, const uint32_t* oracle, const uint32_t* unlearned, Totals totals) {
  const bool renormalised = problem.variant == KlomVariant::researchCode;
  if (totals.unlearned == 0) return renormalised ? kNaN : 0;
  const double logUnlearned = problem.logs[static_cast<size_t>(totals.unlearned)];
  double sum = 0, mass = renormalised ? problem.epsilon : 1;  // the published histogram has one more bin, below the range and always empty
  for (int64_t b = 0; b < problem.bins; ++b) {
    const uint32_t o = oracle[b], u = unlearned[b];
    const double share = std::max(o ? o / static_cast<double>(totals.oracle) : 0.0, problem.epsilon);
    if (renormalised) mass += share;
    if (u) sum += u / static_cast<double>(totals.unlearned) * (problem.logs[u] - logUnlearned - std::log(share));
  }
  return sum + std::log(mass);
}

struct Bounds {
  double low, high;
};

// The histogram's range of a point from the extremes of its finite margins.
Bounds bounds(const Problem& problem, float oracleLow, float oracleHigh, float unlearnedLow, float unlearnedHigh) {
  if (problem.fixedRange) return {-problem.clip, problem.clip};
  return {std::min(clipTo(problem.clip, problem.oracle, oracleLow), clipTo(problem.clip, problem.unlearned, unlearnedLow)),
          std::max(clipTo(problem.clip, problem.oracle, oracleHigh), clipTo(problem.clip, problem.unlearned, unlearnedHigh))};
}

// One point in plain double precision: the published variants, points with non-finite margins, odd ranges, very many bins.
struct PointCounter {
  std::vector<uint32_t> oracle, unlearned;

  static int64_t finiteRange(const Side& side, int64_t point, int64_t points, float& low, float& high) {
    int64_t finite = 0;
    for (int64_t m = 0; m < side.models; ++m) {
      const float value = side.data[m * points + point];
      if (!std::isfinite(value)) continue;
      ++finite;
      low = std::min(low, value);
      high = std::max(high, value);
    }
    return finite;
  }

  // Returns how many margins were counted.
  static int64_t count(const Problem& problem, const Side& side, int64_t point, Bounds range, std::vector<uint32_t>& counts) {
    counts.assign(static_cast<size_t>(problem.bins), 0);
    const double step = (range.high - range.low) / static_cast<double>(problem.bins);
    const double last = static_cast<double>(problem.bins - 1);
    int64_t counted = 0;
    for (int64_t m = 0; m < side.models; ++m) {
      const float raw = side.data[m * problem.points + point];
      if (!std::isfinite(raw)) continue;
      const double value = clipTo(problem.clip, side, raw);
      if (problem.dropMaximum && value >= range.high) continue;
      // the quotient is at most one bin off: the edges decide
      int64_t bin = static_cast<int64_t>(std::clamp((value - range.low) / step, 0.0, last));
      while (bin > 0 && value < static_cast<double>(bin) * step + range.low) --bin;
      while (bin + 1 < problem.bins && value >= static_cast<double>(bin + 1) * step + range.low) ++bin;
      ++counts[static_cast<size_t>(bin)];
      ++counted;
    }
    return counted;
  }

  double run(const Problem& problem, int64_t point, int32_t& nonFinite) {
    float ranges[4] = {kInfinity, -kInfinity, kInfinity, -kInfinity};
    const int64_t oracles = finiteRange(problem.oracle, point, problem.points, ranges[0], ranges[1]);
    const int64_t unlearnedModels = finiteRange(problem.unlearned, point, problem.points, ranges[2], ranges[3]);
    nonFinite = static_cast<int32_t>(problem.oracle.models - oracles + problem.unlearned.models - unlearnedModels);
    if (oracles == 0 || unlearnedModels == 0) return kNaN;
    const Bounds range = bounds(problem, ranges[0], ranges[1], ranges[2], ranges[3]);
    if (!(range.high > range.low)) return 0;
    const Totals totals{count(problem, problem.oracle, point, range, oracle), count(problem, problem.unlearned, point, range, unlearned)};
    return problem.dropMaximum ? publishedScore(problem, oracle.data(), unlearned.data(), totals)
                               : standardScore(problem, oracle.data(), unlearned.data(), totals);
  }
};

// Buffers of one worker.
struct Workspace {
  std::vector<float> lowest[2], highest[2], poison, padded;
  std::vector<double> low, high;
  std::vector<uint32_t> counts[2];
  std::vector<double> tileScores;
  PointCounter single;
};

// Histograms of both sides for `lanes` points at begin + offset; the last, partial tile is read from a padded copy. Each tile of a block
// prefetches its share of the next block's rows.
void countTile(const Problem& problem, int64_t begin, int64_t offset, int64_t lanes, int64_t ahead, Workspace& work) {
  const int64_t width = problem.kernels->width;
  const Side* sides[2] = {&problem.oracle, &problem.unlearned};
  for (int s = 0; s < 2; ++s) {
    const int64_t models = sides[s]->models;
    const float* x = sides[s]->data + begin + offset;
    int64_t stride = problem.points;
    if (lanes < width) {
      work.padded.assign(static_cast<size_t>(models * width), 0.f);
      for (int64_t m = 0; m < models; ++m) std::copy_n(x + m * stride, lanes, work.padded.data() + m * width);
      x = work.padded.data();
      stride = width;
    }
    const int64_t row = ahead > 0 ? models * offset / ahead : 0;
    const float* next = sides[s]->data + row * problem.points + begin + ahead;
    problem.kernels->count(x, models, stride, next, ahead, work.low.data() + offset, work.high.data() + offset, problem.bins, work.counts[s].data());
  }
}

// Scores points [begin, end) into scores and nonFinite.
void runBlock(const Problem& problem, int64_t begin, int64_t end, int64_t ahead, Workspace& work, double* scores, int32_t* nonFinite) {
  const int64_t width = problem.kernels->width, count = end - begin;
  const size_t room = static_cast<size_t>((count + width - 1) / width * width);
  work.poison.assign(room, 0.f);
  const Side* sides[2] = {&problem.oracle, &problem.unlearned};
  for (int s = 0; s < 2; ++s) {
    work.lowest[s].assign(room, kInfinity);
    work.highest[s].assign(room, -kInfinity);
    work.counts[s].resize(static_cast<size_t>(problem.bins * width));
    problem.kernels->range(sides[s]->data + begin, sides[s]->models, count, problem.points, work.lowest[s].data(), work.highest[s].data(), work.poison.data());
  }
  work.tileScores.resize(static_cast<size_t>(width));
  work.low.assign(room, 0.0);
  work.high.assign(room, 1.0);
  for (size_t p = 0; p < static_cast<size_t>(count); ++p) {
    if (work.poison[p] != 0) continue;
    const Bounds range = bounds(problem, work.lowest[0][p], work.highest[0][p], work.lowest[1][p], work.highest[1][p]);
    work.low[p] = range.low;
    work.high[p] = range.high;
  }
  for (int64_t offset = 0; offset < count; offset += width) {
    const int64_t lanes = std::min(width, count - offset);
    if (problem.vectors) {
      countTile(problem, begin, offset, lanes, ahead, work);
      for (int64_t p = 0; p < width; p += 4) {
        standardScores4(problem, work.counts[0].data() + p, work.counts[1].data() + p, width, work.tileScores.data() + p);
      }
    }
    for (int64_t p = 0; p < lanes; ++p) {
      const size_t at = static_cast<size_t>(offset + p);
      const int64_t point = begin + offset + p;
      const double span = work.high[at] - work.low[at];
      const bool plain = problem.vectors && work.poison[at] == 0 && span > 1e-30 && span < 1e30;
      nonFinite[point] = 0;
      scores[point] = plain ? work.tileScores[static_cast<size_t>(p)] : work.single.run(problem, point, nonFinite[point]);
    }
  }
}

void fillTables(Problem& problem) {
  const int64_t most = std::max(problem.oracle.models, problem.unlearned.models);
  problem.logs.assign(static_cast<size_t>(most + 1), 0.0);
  for (int64_t c = 1; c <= most; ++c) problem.logs[static_cast<size_t>(c)] = std::log(static_cast<double>(c));
  const double logEpsilon = std::log(problem.epsilon);
  auto table = [&](int64_t models, std::vector<double>& share, std::vector<double>& logarithm) {
    for (int64_t c = 0; c <= models; ++c) {
      share.push_back(c ? static_cast<double>(c) / static_cast<double>(models) : problem.epsilon);
      logarithm.push_back(c ? problem.logs[static_cast<size_t>(c)] - problem.logs[static_cast<size_t>(models)] : logEpsilon);
    }
  };
  std::vector<double> unused;
  table(problem.oracle.models, problem.oracleShare, problem.oracleLog);
  table(problem.unlearned.models, unused, problem.unlearnedLog);
}

}  // namespace

Status checkKlom(const KlomMargins& margins, const KlomOptions& options) {
  if (margins.numOracles < 1 || margins.numUnlearned < 1 || margins.numPoints < 0) {
    return Status::error("LETHE_MODELS_MISSING", "expected at least one oracle and one unlearned model; received " + std::to_string(margins.numOracles) +
                                                     " and " + std::to_string(margins.numUnlearned) + ".");
  }
  if (margins.numOracles > INT32_MAX / 2 || margins.numUnlearned > INT32_MAX / 2) {
    return Status::error("LETHE_MODELS_TOO_MANY", "expected at most 1,073,741,823 models a side.");
  }
  if (options.bins < 2 || options.bins > 4096) {
    return Status::error("LETHE_BINS_INVALID", "expected 2 to 4096 bins; received " + std::to_string(options.bins) + ".");
  }
  if (!(options.clip > 1e-20 && options.clip < 1e20)) {
    return Status::error("LETHE_CLIP_INVALID", "expected a positive clip; received " + std::to_string(options.clip) + ".");
  }
  if (!(options.epsilon > 0 && options.epsilon < 1)) {
    return Status::error("LETHE_EPSILON_INVALID", "expected a probability between 0 and 1; received " + std::to_string(options.epsilon) + ".");
  }
  return Status::success();
}

Status klom(const KlomMargins& margins, const KlomOptions& options, double* scores, int32_t* nonFinite, const TaskControl& control) {
  const Status checked = checkKlom(margins, options);
  if (!checked.ok()) return checked;
  const bool published = options.variant == KlomVariant::researchCode || options.variant == KlomVariant::easydub;
  Problem problem;
  problem.oracle = {margins.oracle, margins.numOracles, options.variant != KlomVariant::researchCode};
  problem.unlearned = {margins.unlearned, margins.numUnlearned, true};
  problem.points = margins.numPoints;
  problem.bins = options.variant == KlomVariant::researchCode ? options.bins - 1 : options.bins;
  problem.clip = static_cast<float>(options.clip);  // margins are fp32: so are their bounds
  problem.epsilon = options.epsilon;
  problem.fixedRange = options.variant == KlomVariant::paperFixed;
  problem.dropMaximum = published;
  problem.vectors = !published && options.bins <= kMaxVectorBins;
  problem.variant = options.variant;
  problem.kernels = &histogramKernels(options.isa);
  fillTables(problem);

  const int64_t width = problem.kernels->width;
  const int64_t perPoint = (margins.numOracles + margins.numUnlearned) * static_cast<int64_t>(sizeof(float));
  const int64_t block = std::max<int64_t>(1, kBlockBytes / perPoint / width) * width;
  const int64_t run = block * kBlocksPerRun;
  std::vector<Workspace> workspaces(static_cast<size_t>(options.threads > 0 ? options.threads : allowedThreads()));
  std::atomic<int64_t> done{0};
  parallelFor((margins.numPoints + run - 1) / run, options.threads, [&](int64_t index, int worker) {
    const int64_t last = std::min((index + 1) * run, margins.numPoints);
    for (int64_t begin = index * run; begin < last && !control.aborted(); begin += block) {
      const int64_t end = std::min(begin + block, last);
      runBlock(problem, begin, end, end < last ? block : 0, workspaces[static_cast<size_t>(worker)], scores, nonFinite);
      control.report(static_cast<double>(done += end - begin), static_cast<double>(margins.numPoints));
    }
  });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "KLOM was stopped before the end.");
  return Status::success();
}

}  // namespace lethe
