// The rules of a path of one target: which lambda is solved next and how exactly, what its held-out errors choose, when it ends, when a fit
// is certified. Free of devices: whoever solves (a processor, a GPU, a closed form) says what came of it as sums. Lambdas are in units of the
// target's deviation on the models in use, except where "of the target" is said.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/lasso/fit.h"

namespace lethe {

// The path only chooses lambda. It is solved at every lambda that is about a fixed share of the one before, to this gap, with one pass over
// the design each; between two solutions it is taken as linear in lambda, which it is but for the columns that come or go on the way.
constexpr double kPathGap = 1e-2;
// Columns join when their correlation reaches this share of the lambda to be certified.
constexpr double kCertifyEntry = 0.98;
constexpr int64_t kPathSweeps = 200, kFinalSweeps = 1000;
// A round of the final fit that finds no column to add was not exact enough: the next one is solved to this share of its tolerance.
constexpr double kTightening = 0.25;

// A step that leaves the correlations within a share e of lambda costs about 2 e lambda ||w||_1 of relative gap: the share for `gap`.
// penalised: sum of factor_j |w_j| before it.
double stepTolerance(double gap, double lambda, double penalised);

// Of a residual with these sums over the models, as means: its squares, its product with the target (of mean square 1), the largest
// |x_j^T r| / factor_j. penalised: sum of factor_j |w_j|.
double relativeGap(double squares, double product, double largest, double lambda, double penalised);

// A lambda to choose from, and where it lies between the last two solutions.
struct Covered {
  int64_t lambda = 0;
  double shareOfPrevious = 0;
};

class LambdaPath {
 public:
  // options outlive this. lambdaRatio: lambda as a share of lambda_max; 0: the options say how it is found.
  LambdaPath(const FitOptions& options, double lambdaRatio) : options_(options), lambdaRatio_(lambdaRatio) {}

  double lambdaRatio() const { return lambdaRatio_; }
  bool selecting() const { return !options_.fold.empty() && lambdaRatio_ == 0; }
  // The next fold to leave out, for which a path follows. False: nothing is selected, or it was the last.
  bool nextFold(int64_t numFolds) { return selecting() && ++fold_ < numFolds; }
  int64_t fold() const { return fold_; }

  // All weights zero at lambda_max, the largest |x_j^T y| / factor_j of the means, where the target's deviation is `scale`.
  void begin(double largest, double scale);
  // A given lambda that is lambda_max, or as good as that: there is no path to it.
  bool atMaximum() const { return !selecting() && grid_[0] >= at_ * kAtMaximum; }
  // Nothing is left to solve: no more lambdas, or none below lambda_max.
  bool ended() const { return at_ == 0 || covered_ == size(); }
  // The best held-out error is so far back that for 99 of 100 targets it is the best of all.
  bool risen() const { return covered_ - 1 - best_ >= kPatience; }
  // A given lambda has been solved.
  bool arrived() const { return at_ <= grid_.back(); }

  // Chooses lambda for the next step: the farthest within its length, or a point on the way where the grid is coarser.
  void chooseNext();
  double next() const { return next_; }
  double at() const { return at_; }
  double scale() const { return scale_; }  // of the models in use
  // Share of next() from which on columns join. On a path that is a little late for some, which the next pass finds; the sequential strong
  // rule would let in several times as many as are needed.
  double entry() const { return selecting() || next_ > grid_.back() ? kPathEntry : kCertifyEntry; }
  // By how much of the last change of weights they change in the next step, if the path is straight.
  double extrapolation() const { return before_ > 0 ? (at_ - next_) / (before_ - at_) : 0.0; }
  // next() is solved.
  void step();

  // Lambdas that the path has come to since the last call: at the start those that leave all weights zero.
  const std::vector<Covered>& cover();
  // Their errors, from the sums of squares of the held-out errors of the last two solutions and their product. Returns the share of the
  // previous solution in the best weights so far, where these are new, or -1.
  double addErrors(double previous, double mixed, double present);
  // The error of the next lambda, where each is solved by itself.
  void addError(double error);
  void endFold();

  // To choose from, largest first; of the target.
  const std::vector<double>& lambdas() const { return lambdas_; }
  int64_t covered() const { return covered_; }
  int64_t reached() const { return reached_; }  // by every fold
  // The target is spread only among held-out models: all weights are zero, at lambda_max of all models.
  bool nothingToChooseBy() const { return selecting() && lambdas_.empty(); }
  // Of the least error; of the target.
  double chosen() const;
  // A given lambda.
  double given() const { return grid_.back(); }

  // ---- the final fit
  enum class Verdict { solve, converged, unconverged };
  // largest: max |x_j^T r| / factor_j, in the unit of lambda.
  Verdict certify(double gap, double largest, double lambda) const;
  // A round is about to be solved, with columns that the last one had not, or without.
  void beginRound(bool grew);
  int64_t round() const { return round_; }
  double finalTolerance(double lambda, double penalised) const { return tighten_ * stepTolerance(options_.gapTolerance, lambda, penalised); }

 private:
  // lambda this close to lambda_max counts as lambda_max: all weights zero, at a relative gap of 1e-10.
  static constexpr double kAtMaximum = 1 - 1e-5;
  // A given lambda is reached by longer steps, but never at once: a cold solve explodes the working set.
  static constexpr double kStep = 0.865, kWarmStep = 0.65;
  static constexpr double kPathEntry = 1.04;
  static constexpr int64_t kPatience = 20, kFinalRounds = 100;

  int64_t size() const { return static_cast<int64_t>(grid_.size()); }
  bool add(int64_t lambda, double error);

  const FitOptions& options_;
  double lambdaRatio_;
  int64_t fold_ = -1;
  std::vector<double> lambdas_, errors_;  // of the target; summed over the folds
  int64_t reached_ = 0;
  std::vector<double> grid_;  // lambdas_, or the given one, on the models in use
  double scale_ = 1;
  std::vector<Covered> since_;
  int64_t covered_ = 0, best_ = 0;  // lambdas with an error on this path, the best of them
  double bestError_ = 0, before_ = 0, at_ = 0, next_ = 0;
  double tighten_ = 1;
  int64_t round_ = 0;
};

}  // namespace lethe
