// The linear study (Section 5 and Appendix E of the paper): first-order unlearning of ridge regression, iterated in double precision.
// With S the train set, R its retain part and F its forget part, the objective is L(theta) = sum_{i in R} (x_i . theta - y_i)^2 +
// lambda |theta|^2 (equation 5, summed and not averaged) and every gradient below is its exact derivative, factor 2 included.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/base/isa.h"
#include "lethe/base/status.h"
#include "lethe/base/task.h"

namespace lethe {

class Random;

// One ridge problem. Rows are the retain points, then the forget points; the coordinates are rotated so that the first `spanSize` of them
// are the span of the retain points. All iterates stay in the span of all points, so dim is min(d, n).
struct RidgeProblem {
  const double* x = nullptr;          // (numTrain, dim)
  const double* y = nullptr;          // (numTrain)
  const double* thetaFull = nullptr;  // (dim) optimum on all points: where every method starts
  const double* thetaStar = nullptr;  // (dim) optimum on the retain points: where every method should end
  int64_t numTrain = 0, numForget = 0, dim = 0, spanSize = 0;
  double lambda = 0;

  int64_t numRetain() const { return numTrain - numForget; }
};

// Appendix E.3, in its order; ascent is GD + GA.
enum class RidgeMethod { descent = 0, ascent = 1, matching = 2, matchingRetain = 3 };

// One method on one problem, at every step size of the call.
struct RidgeRun {
  int64_t problem = 0;
  RidgeMethod method = RidgeMethod::descent;
  double ascentWeight = 0;  // of the forget gradient, ascent only
  // 0: full batch. Otherwise each step draws so many different points, from the retain set (descent, matchingRetain) or from all (ascent,
  // matching), and follows the sum of their own gradients; a retain point owns lambda / numRetain of the penalty, so that the expected
  // step is batchSize / (number of points drawn from) times the full one.
  int64_t batchSize = 0;
  uint64_t repetition = 0;  // batches depend on (seed, repetition, points drawn from) only: methods and step sizes share them
};

enum class RidgeEnding : uint8_t { ran = 0, diverged = 1, converged = 2 };

struct RidgeOptions {
  std::vector<double> steps;       // (S) step sizes eta, each > 0
  std::vector<int64_t> loggedAt;   // (L) increasing iteration counts, at least one; the last is where runs end
  uint64_t seed = 0;
  // Checked where logged, on R = |theta_t - theta_*|^2 / |theta_full - theta_*|^2: outside of them a step size ends early.
  double divergedAbove = 1e6;
  double convergedBelow = 1e-24;
  int threads = 0;
  Isa isa = Isa::portable;
};

// Results of one run; the caller allocates. After an early end the rest of a row is +infinity (diverged) or the last value (converged).
struct RidgeOutcome {
  double* inSpan = nullptr;        // (S, L) R inside the retain span
  double* orthogonal = nullptr;    // (S, L) R orthogonal to it; the sum of both is R
  uint8_t* endings = nullptr;      // (S) RidgeEnding
  double* iterates = nullptr;      // (S, L, dim) theta_t, zero after an early end; may be null
};

// Runs in parallel over runs; results depend neither on threads nor on order. LETHE_LINEAR_INVALID, LETHE_TASK_ABORTED.
Status ridgeStudy(const std::vector<RidgeProblem>& problems, const std::vector<RidgeRun>& runs, const RidgeOptions& options,
                  const std::vector<RidgeOutcome>& outcomes, const TaskControl& control);

// The points of one batch: a uniform subset of [0, numPoints); the sequence of calls on one Random gives the sequence of batches.
void drawBatch(Random& random, int64_t numPoints, int64_t batchSize, int64_t* batch);

// ---------------------------------------------------------------- kernels, one table per instruction set

constexpr int64_t kStepLanes = 8;  // step sizes that advance together: theta is (dim, kStepLanes), which the first-level cache holds

struct RidgeKernels {
  // out[r, l] = sum_j rows[r][j] * theta[j, l], summed in the order of j. out: (numRows, kStepLanes)
  void (*project)(const double* const* rows, int64_t numRows, int64_t dim, const double* theta, double* out);
  // theta[j, l] = shrink[l] * theta[j, l] - sum_r rows[r][j] * coefficient[r, l]. coefficient: (numRows, kStepLanes)
  void (*descend)(const double* const* rows, int64_t numRows, int64_t dim, const double* shrink, const double* coefficient, double* theta);
};

const RidgeKernels& ridgeKernels(Isa isa);

}  // namespace lethe
