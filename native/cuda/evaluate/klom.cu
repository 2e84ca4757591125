// KLOM on the GPU: exact counts of margins in bins, then the score of a point from its counts in double. Contract: lethe/evaluate.h.
// A block of threads takes 32 neighbouring points, a lane each; its warps share the models. Ranges are found in one sweep of global memory
// and counts in a second one, which the L2 cache serves.
#include <cmath>
#include <limits>

#include "cuda/base/over_devices.h"
#include "lethe/evaluate/evaluate.h"

namespace lethe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int kPoints = 32, kWarps = 8;
constexpr int64_t kBinsAtOnce = 128;              // counted in one sweep: 32 KiB of counters
constexpr int64_t kMostBlockBytes = int64_t{1} << 30;  // of margins, so that progress and abort come in time

struct Side {
  const float* data;  // (models, points)
  int64_t models;
  bool clipped;
};

struct Task {
  Side sides[2];  // oracle, unlearned
  int64_t points, bins, binsAtOnce;
  double clip, epsilon, logEpsilon;
  bool fixedRange, published, renormalised;
  const double* logs;  // (models of the larger side + 1): logarithms of 1, 2, ...; entry 0 is unused
  double* scores;      // (points)
  int32_t* nonFinite;  // (points)
};

__device__ __forceinline__ bool isFinite(float value) { return value - value == 0; }

__device__ __forceinline__ double clipTo(const Task& task, const Side& side, double value) {
  if (!side.clipped) return value;
  return value < -task.clip ? -task.clip : value > task.clip ? task.clip : value;
}

// NumPy's edge k: product and sum are rounded one after the other.
__device__ __forceinline__ double edge(int64_t k, double step, double low) { return __dadd_rn(__dmul_rn(static_cast<double>(k), step), low); }

__device__ __forceinline__ int64_t binOf(double value, double low, double step, double perStep, int64_t bins) {
  // the product is at most one bin off: the edges decide
  const double estimate = (value - low) * perStep, last = static_cast<double>(bins - 1);
  int64_t bin = static_cast<int64_t>(estimate < 0 ? 0 : estimate > last ? last : estimate);
  while (bin > 0 && value < edge(bin, step, low)) --bin;
  while (bin + 1 < bins && value >= edge(bin + 1, step, low)) ++bin;
  return bin;
}

// The terms of one point, bin after bin as on the CPU.
struct Score {
  double sum = 0, mass = 0;

  __device__ __forceinline__ void addStandard(const Task& task, uint32_t o, uint32_t u, uint32_t oracles, uint32_t unlearned) {
    if (o == 0 && u == 0) return;
    const double share = o ? o / static_cast<double>(oracles) : task.epsilon;
    const double logO = o ? task.logs[o] - task.logs[oracles] : task.logEpsilon, logU = u ? task.logs[u] - task.logs[unlearned] : task.logEpsilon;
    sum += share * (logO - logU);
  }
  __device__ __forceinline__ void addPublished(const Task& task, uint32_t o, uint32_t u, uint32_t oracles, uint32_t unlearned) {
    double share = o ? o / static_cast<double>(oracles) : 0;
    if (share < task.epsilon) share = task.epsilon;
    mass += share;
    if (u) sum += u / static_cast<double>(unlearned) * (task.logs[u] - task.logs[unlearned] - std::log(share));
  }
};

// Of the models that each warp has looked at.
struct Extremes {
  float lows[2][kWarps][kPoints], highs[2][kWarps][kPoints];
  int32_t finite[2][kWarps][kPoints];
};

__device__ __forceinline__ void findExtremes(const Task& task, int64_t point, bool inside, int warp, int lane, Extremes& extremes) {
  for (int s = 0; s < 2; ++s) {
    float lowest = kInfinity, highest = -kInfinity;
    int32_t found = 0;
    for (int64_t m = warp; inside && m < task.sides[s].models; m += kWarps) {
      const float value = task.sides[s].data[m * task.points + point];
      if (!isFinite(value)) continue;
      ++found;
      lowest = value < lowest ? value : lowest;
      highest = value > highest ? value : highest;
    }
    extremes.lows[s][warp][lane] = lowest;
    extremes.highs[s][warp][lane] = highest;
    extremes.finite[s][warp][lane] = found;
  }
}

// Of all warps: bounds of both sides together, clipped, and how many finite margins each side has.
__device__ __forceinline__ void joinExtremes(const Task& task, const Extremes& extremes, int lane, int64_t (&found)[2], double (&bounds)[2]) {
  for (int s = 0; s < 2; ++s) {
    float lowest = extremes.lows[s][0][lane], highest = extremes.highs[s][0][lane];
    for (int w = 0; w < kWarps; ++w) {
      found[s] += extremes.finite[s][w][lane];
      lowest = extremes.lows[s][w][lane] < lowest ? extremes.lows[s][w][lane] : lowest;
      highest = extremes.highs[s][w][lane] > highest ? extremes.highs[s][w][lane] : highest;
    }
    const double from = clipTo(task, task.sides[s], lowest), to = clipTo(task, task.sides[s], highest);
    bounds[0] = from < bounds[0] ? from : bounds[0];
    bounds[1] = to > bounds[1] ? to : bounds[1];
  }
  if (task.fixedRange) bounds[0] = -task.clip, bounds[1] = task.clip;
}

__global__ void __launch_bounds__(kPoints* kWarps) scorePoints(Task task) {
  __shared__ Extremes extremes;
  __shared__ double low[kPoints], step[kPoints], high[kPoints];
  __shared__ uint32_t totals[2][kPoints];  // counted margins
  __shared__ int open[kPoints];            // points that have a histogram
  uint32_t* counts = dynamicShared<uint32_t>();  // (2, binsAtOnce, kPoints)
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int64_t point = static_cast<int64_t>(blockIdx.x) * kPoints + lane;
  const bool inside = point < task.points;

  findExtremes(task, point, inside, warp, lane, extremes);
  __syncthreads();
  double score = kNaN;
  if (warp == 0) {
    int64_t found[2] = {0, 0};
    double bounds[2] = {kInfinity, -kInfinity};
    joinExtremes(task, extremes, lane, found, bounds);
    totals[0][lane] = totals[1][lane] = 0;
    const bool both = inside && found[0] > 0 && found[1] > 0;
    open[lane] = both && bounds[1] > bounds[0];
    low[lane] = bounds[0];
    high[lane] = bounds[1];
    step[lane] = (bounds[1] - bounds[0]) / static_cast<double>(task.bins);
    if (both && !open[lane]) score = 0;
    if (inside) task.nonFinite[point] = static_cast<int32_t>(task.sides[0].models - found[0] + task.sides[1].models - found[1]);
  }
  Score terms;
  for (int64_t first = 0; first < task.bins; first += task.binsAtOnce) {
    for (int64_t k = thread; k < 2 * task.binsAtOnce * kPoints; k += kPoints * kWarps) counts[k] = 0;
    __syncthreads();
    for (int s = 0; s < 2; ++s) {
      const Side side = task.sides[s];
      const double perStep = 1 / step[lane];
      uint32_t counted = 0;
      for (int64_t m = warp; open[lane] && m < side.models; m += kWarps) {
        const float raw = side.data[m * task.points + point];
        if (!isFinite(raw)) continue;
        const double value = clipTo(task, side, raw);
        if (task.published && value >= high[lane]) continue;  // the published codes drop the overall maximum
        ++counted;
        const int64_t bin = binOf(value, low[lane], step[lane], perStep, task.bins) - first;
        if (bin >= 0 && bin < task.binsAtOnce) atomicAdd(&counts[(s * task.binsAtOnce + bin) * kPoints + lane], 1u);
      }
      if (first == 0) atomicAdd(&totals[s][lane], counted);
    }
    __syncthreads();
    if (warp == 0 && open[lane]) {
      for (int64_t b = 0; b < task.binsAtOnce && first + b < task.bins; ++b) {
        const uint32_t o = counts[b * kPoints + lane], u = counts[(task.binsAtOnce + b) * kPoints + lane];
        if (task.published) terms.addPublished(task, o, u, totals[0][lane], totals[1][lane]);
        else terms.addStandard(task, o, u, totals[0][lane], totals[1][lane]);
      }
    }
    __syncthreads();
  }
  if (warp != 0 || !inside) return;
  if (open[lane]) {
    score = terms.sum;
    // the published histogram has one more bin, below the range and always empty
    if (task.renormalised) score += std::log(task.epsilon + terms.mass);
    if (task.published && totals[1][lane] == 0) score = task.renormalised ? kNaN : 0;
  }
  task.scores[point] = score;
}

// ---------------------------------------------------------------- host code

Task taskOf(const KlomMargins& margins, const KlomOptions& options) {
  Task task{};
  task.renormalised = options.variant == KlomVariant::researchCode;
  task.published = task.renormalised || options.variant == KlomVariant::easydub;
  task.fixedRange = options.variant == KlomVariant::paperFixed;
  task.sides[0] = {nullptr, margins.numOracles, !task.renormalised};
  task.sides[1] = {nullptr, margins.numUnlearned, true};
  task.bins = task.renormalised ? options.bins - 1 : options.bins;
  task.binsAtOnce = std::min(task.bins, kBinsAtOnce);
  task.clip = static_cast<float>(options.clip);  // margins are fp32: so are their bounds
  task.epsilon = options.epsilon;
  task.logEpsilon = std::log(options.epsilon);
  return task;
}

}  // namespace

Status LETHE_PER_ISA(klomOnGpu)(const KlomMargins& margins, const KlomOptions& options, const GpuOptions& gpu, double* scores, int32_t* nonFinite,
                                const TaskControl& control) {
  const Status checked = checkKlom(margins, options);
  if (!checked.ok()) return checked;
  std::vector<double> logs(static_cast<size_t>(std::max(margins.numOracles, margins.numUnlearned) + 1));
  for (size_t c = 1; c < logs.size(); ++c) logs[c] = std::log(static_cast<double>(c));
  const int64_t logBytes = static_cast<int64_t>(logs.size() * sizeof(double));
  const int64_t pointBytes = (margins.numOracles + margins.numUnlearned) * static_cast<int64_t>(sizeof(float));
  const int64_t bytesPerPoint = pointBytes + static_cast<int64_t>(sizeof(double) + sizeof(int32_t));
  return overDevices(gpu, margins.numPoints, control, [&](int64_t begin, int64_t end, const auto& done) {
    const int64_t most = std::max<int64_t>(kMostBlockBytes / pointBytes, kPoints);
    const int64_t block = itemsThatFit(end - begin, kPoints, most, logBytes, bytesPerPoint, memoryOf(gpu));
    const DeviceMemory oracle(block * margins.numOracles * 4), unlearned(block * margins.numUnlearned * 4), table(logBytes), result(block * 8), bad(block * 4);
    upload(table.data(), logs.data(), logBytes);
    Task task = taskOf(margins, options);
    task.sides[0].data = static_cast<const float*>(oracle.data());
    task.sides[1].data = static_cast<const float*>(unlearned.data());
    task.logs = static_cast<const double*>(table.data());
    task.scores = static_cast<double*>(result.data());
    task.nonFinite = static_cast<int32_t*>(bad.data());
    for (int64_t first = begin; first < end; first += block) {
      task.points = std::min(block, end - first);
      uploadRows(oracle.data(), task.points * 4, margins.oracle + first, margins.numPoints * 4, task.points * 4, margins.numOracles);
      uploadRows(unlearned.data(), task.points * 4, margins.unlearned + first, margins.numPoints * 4, task.points * 4, margins.numUnlearned);
      launch(dim3(static_cast<unsigned>((task.points + kPoints - 1) / kPoints)), dim3(kPoints * kWarps), 2 * task.binsAtOnce * kPoints * 4, scorePoints, task);
      download(scores + first, result.data(), task.points * 8);
      download(nonFinite + first, bad.data(), task.points * 4);
      if (!done(task.points)) return;
    }
  });
}

}  // namespace lethe
