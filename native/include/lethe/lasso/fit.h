// Datamodel estimation: one sparse linear regression per target on shared 0/1 masks,
//   min over w, b of 1/(2m) ||y - X w - b||^2 + lambda ||w||_1    (b unpenalised, columns centred, not rescaled),
// with a certified relative duality gap per target.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lethe/base/status.h"
#include "lethe/base/task.h"

namespace lethe {

// bits: (numModels, ceil(numTrain / 8)) little-endian bits; bit j of row i: model i was trained on example j.
struct MaskView {
  const uint8_t* bits = nullptr;
  int64_t numModels = 0, numTrain = 0;
};

// values: (numModels, rowStride) row-major, target t of model i at [i * rowStride + t], t < numTargets <= rowStride.
// rowWeights: (numModels, ceil(numTargets / targetsPerWeight)) or null; model i counts rowWeights[i, t / targetsPerWeight] times for
// target t, 0 leaves it out.
// lambdaRatio: (numTargets) or null: target t is fitted on all models at this share of its lambda_max (options.pooled).
// relaxation: (numTargets) or null: instead of the option.
struct TargetView {
  const float* values = nullptr;
  int64_t numTargets = 0, rowStride = 0;
  const uint8_t* rowWeights = nullptr;
  int64_t targetsPerWeight = 1;
  const double *lambdaRatio = nullptr, *relaxation = nullptr;
};

enum class Estimator {
  lasso,
  marginal,  // the Lasso with X^T X / m replaced by its diagonal: soft-thresholded centred-mask correlations
};

struct FitOptions {
  Estimator estimator = Estimator::lasso;
  // (numModels) models of fold k = 0, 1, ... are held out together, -1: never. Not empty: lambda is chosen per target by squared error on
  // held-out models, summed over the folds. Empty: every target is fitted at `lambda`.
  std::vector<int32_t> fold;
  std::vector<double> lambdas;  // to choose from, largest first; empty: pathLength values from lambda_max to lambdaMinRatio * lambda_max
  int64_t pathLength = 100;
  double lambdaMinRatio = 0.01;
  // lambda is chosen for many targets together: folds serve scorePaths() only, and every target brings its own lambdaRatio.
  bool pooled = false;
  bool refit = true;  // fit again on all models at the chosen lambda; without it only one fold can be held out
  double lambda = 0;
  // The relaxed Lasso: weights are 1 - relaxation times those of the Lasso plus relaxation times those of least squares on its support.
  double relaxation = 0;
  bool standardise = false;  // penalise |w_j| in proportion to the standard deviation of column j
  double gapTolerance = 1e-4;  // relative duality gap: gap / (||y - mean||^2 / 2m)
  int64_t gramBytes = int64_t{1} << 30;  // memory for tables of Gram counts; what does not fit is counted from the bits
  // Memory for the Gram counts of the targets in flight, of all threads; 0: no limit. A target that alone needs more is solved all the same.
  int64_t setBytes = 0;
  int threads = 0;
  std::string isa;  // "" or "auto": the best
};

enum class FitStatus : uint8_t { converged, unconverged, constant, nonfinite };

// One datamodel: prediction = bias + sum of weights over the examples in the mask.
struct TargetFit {
  FitStatus status = FitStatus::unconverged;
  float bias = 0;
  double lambda = 0;
  // Relative duality gap of the weights before they were rounded to float (which adds up to about 1e-6 on ill-conditioned problems);
  // the diagonal problem of `marginal` is solved in closed form: 0. Relaxed: the larger one of the Lasso's, which gave the support, and
  // of the least squares on it, in the same unit.
  double gap = 0;
  std::vector<int32_t> indices;  // ascending, weights[k] != 0 belongs to example indices[k]
  std::vector<float> weights;
};

// What a path that only chooses left of one target: for lambdas k and relaxations s, in the order of the options and of scorePaths().
// NaN from the first lambda on that the path did not reach, because its support had become too large to be the one that is looked for.
struct PathScore {
  std::vector<float> error;        // (lambdas, relaxations) squared error on the held-out models as a share of that of zero weights
  std::vector<float> correlation;  // (lambdas, relaxations) Pearson's, of predicted and true outputs of the held-out models; 0 if constant
};

class LassoDesign;

// What openDesign() chose.
struct DesignInfo {
  int64_t numModels = 0;
  std::string isa;
  std::string gram;        // "table8", "table16": counts looked up in tables of that many bits; "counted": from the bits
  int64_t bytes = 0;       // of the design
  int64_t bytesPerThread = 0;  // of a worker of a fit, typical
};

// The part that all targets share: bit columns, folds, Gram counts (tables only where numTargets are enough to pay for them). Later fits
// must use the same options. Errors: LETHE_ISA_UNAVAILABLE, LETHE_TASK_ABORTED, LETHE_ARGUMENT_INVALID.
Status openDesign(const MaskView& masks, const FitOptions& options, int64_t numTargets, const TaskControl& control, std::shared_ptr<const LassoDesign>& design);
DesignInfo describeDesign(const LassoDesign& design);

// Fits every target; fits[t] belongs to target t and depends on its column and the options only, not on threads or neighbours.
// Progress is in targets. Errors: LETHE_TASK_ABORTED, LETHE_ARGUMENT_INVALID.
Status fitDatamodels(const LassoDesign& design, const TargetView& targets, const FitOptions& options, const TaskControl& control, std::vector<TargetFit>& fits);

// Scores of every lambda (by its share of lambda_max: `lambdas` must be empty) and relaxation on the models of fold 0, to choose one for
// many targets. Progress is in targets. Targets without a path (constant or non-finite) have empty scores.
Status scorePaths(const LassoDesign& design, const TargetView& targets, const FitOptions& options, const std::vector<double>& relaxations,
                  const TaskControl& control, std::vector<PathScore>& scores);

}  // namespace lethe
