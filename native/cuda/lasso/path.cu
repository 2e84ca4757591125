#include "cuda/lasso/path.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

TargetPath::TargetPath(const FitOptions& options, const std::vector<DeviceRowSet>& rowSets, double lambdaRatio)
    : options_(options), rowSets_(rowSets), path_(options, lambdaRatio) {
  nextFold();
}

void TargetPath::useRowSet(int32_t rowSet) {
  command_.rowSet = rowSet;
  command_.count = rowSets_[static_cast<size_t>(rowSet)].count;
  command_.heldFrom = rowSets_[static_cast<size_t>(rowSet)].heldFrom;
  command_.heldTo = rowSets_[static_cast<size_t>(rowSet)].heldTo;
}

// The path without the next fold, or the end of all paths.
void TargetPath::nextFold() {
  fresh_ = true;
  const bool more = path_.nextFold(folds());
  if (path_.selecting() && !more) {
    final_ = true;
    command_.restart = Restart::best;
    command_.bestScale = scale_;
    if (options_.refit || path_.nothingToChooseBy()) useRowSet(folds());
    return;
  }
  command_.restart = Restart::empty;
  command_.bestShare = -1;
  useRowSet(more ? static_cast<int32_t>(path_.fold()) : folds());
}

void TargetPath::endPath() {
  path_.endFold();
  nextFold();
}

TargetPath::Next TargetPath::correlated(const Outcome& outcome) {
  command_.restart = Restart::none;
  command_.bestShare = -1;
  if (!final_ && !outcome.usable) {  // constant without this fold
    nextFold();
    return Next::correlate;
  }
  scale_ = outcome.scale;
  if (final_) return certify(outcome);
  return fresh_ ? beginPath(outcome) : orderStep(outcome.penalised);
}

TargetPath::Next TargetPath::orderStep(double penalised) {
  order(path_.next(), path_.entry(), stepTolerance(kPathGap, path_.next(), penalised), kPathSweeps);
  return Next::step;
}

void TargetPath::order(double lambda, double entry, double tolerance, int64_t sweeps) {
  command_.tolerance = tolerance;
  command_.tightening = 1;
  command_.maxSweeps = static_cast<int32_t>(sweeps);
  command_.penalty = lambda * count();
  command_.entry = entry * lambda * count();
  command_.firstStep = fresh_ && !final_;
}

// From all weights zero at the largest correlation.
TargetPath::Next TargetPath::beginPath(const Outcome& outcome) {
  path_.begin(outcome.largest / count(), scale_);
  if (path_.atMaximum()) {
    final_ = true;
    return Next::correlate;
  }
  if (path_.selecting()) {
    path_.cover();
    path_.addErrors(0, 0, outcome.zeroHeldOut);  // of zero weights: there is nothing to keep
    if (path_.ended()) {
      endPath();
      return Next::correlate;
    }
  }
  path_.chooseNext();
  orderStep(0);
  fresh_ = false;
  return Next::step;
}

void TargetPath::stepped(const Outcome& outcome) {
  if (final_) {
    path_.beginRound(outcome.admitted != 0);
    return;
  }
  path_.step();
  if (!path_.selecting()) {
    if (path_.arrived()) final_ = fresh_ = true;
    else path_.chooseNext();
    return;
  }
  path_.cover();
  const double share = path_.addErrors(outcome.heldBefore, outcome.heldMixed, outcome.heldNow);
  if (share >= 0) command_.bestShare = share;
  if (path_.ended() || path_.risen()) endPath();
  else path_.chooseNext();
}

TargetPath::Next TargetPath::certify(const Outcome& outcome) {
  const double largest = outcome.largest / count();
  if (fresh_) lambda_ = !path_.selecting() ? path_.given() : path_.nothingToChooseBy() ? largest : path_.chosen() / scale_;
  fresh_ = false;
  gap_ = relativeGap(outcome.squares / count(), outcome.product / count(), largest, lambda_, outcome.penalised);
  const LambdaPath::Verdict verdict = path_.certify(gap_, outcome.largest, lambda_ * count());
  if (verdict != LambdaPath::Verdict::solve) {
    status_ = verdict == LambdaPath::Verdict::converged ? FitStatus::converged : FitStatus::unconverged;
    return Next::done;
  }
  order(lambda_, kCertifyEntry, path_.finalTolerance(lambda_, outcome.penalised), kFinalSweeps);
  if (path_.round() > 0) command_.tightening = kTightening;
  return Next::step;
}

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
