// Evaluation ops: KLOM, margins of logits, moments and rank correlation per point. All matrices are row-major (models, points):
// a point is a column. Work is split over points, so results do not depend on the number of threads or the instruction set.
#pragma once
#include <cstdint>
#include <string>

#include "lethe/base/isa.h"
#include "lethe/base/status.h"
#include "lethe/base/task.h"

namespace lethe {

// KLOM (paper, Definition 3 and Algorithm F.1) has four definitions in circulation; they differ in direction, bins and edge rule.
//   standard      D(oracle || unlearned), `bins` equal bins between the smallest and largest margin of both, top bin closed.
//   paperFixed    the same on fixed bins over [-clip, clip], the literal text of appendix F.1.
//   researchCode  D(unlearned || oracle), only the unlearned margins clipped, bins - 1 bins, the overall maximum dropped, the oracle
//                 histogram (with one more, empty bin below) raised to >= epsilon everywhere and renormalised.
//   easydub       D(unlearned || oracle), both clipped, `bins` bins, the overall maximum dropped, no renormalisation.
enum class KlomVariant { standard, paperFixed, researchCode, easydub };

// "default", "paper-fixed", "research-code", "easydub"; LETHE_VARIANT_UNKNOWN lists them.
Status klomVariantFromName(const std::string& name, KlomVariant& variant);

struct KlomOptions {
  KlomVariant variant = KlomVariant::standard;
  int64_t bins = 20;
  double clip = 100;       // margins are clipped to [-clip, clip]
  double epsilon = 1e-5;   // probability of a bin that is empty on one side only
  Isa isa = Isa::portable;
  int threads = 0;  // 0: all allowed
};

struct KlomMargins {
  const float* oracle = nullptr;     // (numOracles, numPoints)
  const float* unlearned = nullptr;  // (numUnlearned, numPoints)
  int64_t numOracles = 0, numUnlearned = 0, numPoints = 0;
};

// What every backend refuses: LETHE_MODELS_MISSING, LETHE_MODELS_TOO_MANY, LETHE_BINS_INVALID, LETHE_CLIP_INVALID, LETHE_EPSILON_INVALID.
Status checkKlom(const KlomMargins& margins, const KlomOptions& options);

// scores, nonFinite: (numPoints). Non-finite margins are counted and never binned; a point with no finite margin on one side scores NaN,
// and so does a researchCode point whose unlearned margins are all the overall maximum (the published code divides 0 by 0 there).
Status klom(const KlomMargins& margins, const KlomOptions& options, double* scores, int32_t* nonFinite, const TaskControl& control);

constexpr int64_t kNeighbours = 5;

// D_KL(oracle || unlearned) of every point without the bias of a histogram, in nats; finite margins clipped to [-clip, clip].
//   gaussian    of two normal distributions with these moments; unbiased where both sides are normal. NaN with fewer than 2 oracles or 4
//               unlearned models; infinite where only the unlearned margins are all equal, 0 where all margins are.
//   neighbours  from the distances to the 5th nearest neighbour (Wang, Kulkarni and Verdu 2009). NaN with fewer than 6 oracles or 5
//               unlearned models. Distances below 1e-9 of the range of all margins count as that: ties are no evidence of any density.
// gaussian, neighbours: (numPoints). Errors as klom.
Status divergences(const KlomMargins& margins, double clip, int threads, double* gaussian, double* neighbours, const TaskControl& control);

// LETHE_CLASSES_INVALID, LETHE_LABEL_INVALID; labels: (points).
Status checkLabels(const int32_t* labels, int64_t points, int64_t classes);

// margins (models, points): z_y - logsumexp_{j != y} z_j, accumulated in double. predicted (models, points): the class of the largest
// logit, the first one on ties; 255 where a logit is NaN. logits: (models, points, classes); labels: (points). 2 <= classes <= 255.
Status marginsFromLogits(const float* logits, const int32_t* labels, int64_t models, int64_t points, int64_t classes, int threads, float* margins,
                         uint8_t* predicted, const TaskControl& control);

// mean, variance (unbiased; 0 with one model), nonFinite: (points), over the finite values of each point; NaN where there is none.
Status moments(const float* margins, int64_t models, int64_t points, int threads, double* mean, double* variance, int32_t* nonFinite,
               const TaskControl& control);

// correlation: (points), Spearman's rank correlation over models with average ranks for ties; NaN where a side is constant or has a
// non-finite value. numConstant, numNonFinite count those points. predicted, actual: (models, points) with `stride` floats a row.
Status spearman(const float* predicted, const float* actual, int64_t models, int64_t points, int64_t stride, int threads, double* correlation,
                int64_t& numConstant, int64_t& numNonFinite, const TaskControl& control);

// means: (resamples), each the mean of `count` draws with replacement from values (count), 1 <= count < 2^32. Resample k has its own
// random stream (seed, bootstrap, 2, k): independent of threads and of the number of resamples. Progress is in resamples.
Status bootstrapMeans(const double* values, int64_t count, int64_t resamples, uint64_t seed, int threads, double* means, const TaskControl& control);

// ---------------------------------------------------------------- kernels

// The backend contract of KLOM: histograms of columns. Kernels run on the calling thread, allocate nothing and check nothing.
struct HistogramKernels {
  // Points of a tile: `count` works on exactly this many neighbouring points.
  int64_t width;

  // Lowers lowest and raises highest (points) to cover the rows of x; poison[p] becomes NaN if a value of point p is not finite
  // (or sums of values overflow), else stays 0. lowest and highest of a poisoned point are meaningless. x: (models, points) with `stride` floats a row.
  void (*range)(const float* x, int64_t models, int64_t points, int64_t stride, float* lowest, float* highest, float* poison);

  // counts[b * width + p] becomes the number of values of point p in bin b of `bins` equal bins on [low[p], high[p]], values beyond going to the
  // end bins. Edge k is low + k * ((high - low) / bins) in double, as NumPy's linspace has it, and belongs to bin k: exact counts, equal
  // on every instruction set. All values finite, 1e-30 < high - low < 1e30, bins <= kMaxVectorBins. x: `width` points wide.
  // Meanwhile rows of nextPoints floats from `next` on are prefetched, as many bytes as x has (none with nextPoints = 0): whole rows,
  // because short pieces of many rows would each open another page of the memory.
  void (*count)(const float* x, int64_t models, int64_t stride, const float* next, int64_t nextPoints, const double* low, const double* high, int64_t bins,
                uint32_t* counts);
};
constexpr int64_t kMaxVectorBins = 32;

// Kernels of one instruction set; the level must be available (resolveIsa).
const HistogramKernels& histogramKernels(Isa isa);

}  // namespace lethe
