// Datamodel estimation: one sparse linear regression per target on shared 0/1 masks,
//   min over w, b of 1/(2m) ||y - X w - b||^2 + lambda ||w||_1    (b unpenalised, columns centred, not rescaled),
// with a certified relative duality gap per target.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lethe/status.h"
#include "lethe/task.h"

namespace lethe {

// bits: (numModels, ceil(numTrain / 8)) little-endian bits; bit j of row i: model i was trained on example j.
struct MaskView {
  const uint8_t* bits = nullptr;
  int64_t numModels = 0, numTrain = 0;
};

// values: (numModels, rowStride) row-major, target t of model i at [i * rowStride + t], t < numTargets <= rowStride.
struct TargetView {
  const float* values = nullptr;
  int64_t numTargets = 0, rowStride = 0;
};

enum class Estimator {
  lasso,
  marginal,  // the Lasso with X^T X / m replaced by its diagonal: soft-thresholded centred-mask correlations
};

struct FitOptions {
  Estimator estimator = Estimator::lasso;
  // Held-out models (row numbers). Not empty: lambda is chosen per target by squared error on them, from pathLength values between
  // lambda_max and lambdaMinRatio * lambda_max of the other models. Empty: every target is fitted at `lambda`.
  std::vector<int32_t> holdout;
  int64_t pathLength = 100;
  double lambdaMinRatio = 0.01;
  bool refit = true;  // fit again on all models at the chosen lambda; only meaningful with held-out models
  double lambda = 0;
  double gapTolerance = 1e-4;  // relative duality gap: gap / (||y - mean||^2 / 2m)
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
  // the diagonal problem of `marginal` is solved in closed form: 0.
  double gap = 0;
  std::vector<int32_t> indices;  // ascending, weights[k] != 0 belongs to example indices[k]
  std::vector<float> weights;
};

// Fits every target; fits[t] belongs to target t and depends on its column and the options only, not on threads or neighbours.
// Progress is in targets. Errors: LETHE_ISA_UNAVAILABLE, LETHE_TASK_ABORTED, LETHE_ARGUMENT_INVALID.
Status fitDatamodels(const MaskView& masks, const TargetView& targets, const FitOptions& options, const TaskControl& control,
                     std::vector<TargetFit>& fits);

}  // namespace lethe
