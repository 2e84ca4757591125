// How well the solutions of one path predict the held-out models, for every lambda and relaxation: what a choice for many targets
// together is made from.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/lasso/fit.h"

namespace lethe {

class PathScorer {
 public:
  // rootWeight: (held-out rows) root of the row weight, 0: not a model. zeroErrors: errors of zero weights. Errors are y - prediction, each
  // times the root of its row weight; both sides are centred on the fitted models.
  void begin(int64_t lambdas, const std::vector<double>& relaxations, const std::vector<float>& rootWeight, const std::vector<float>& zeroErrors);
  // Errors of the next solution: of the Lasso, and of least squares on its support.
  void add(const std::vector<float>& lasso, const std::vector<float>& refitted);
  // Scores lambda k, whose weights are `share` of the solution before the last one and the rest of the last one.
  void record(int64_t k, double share);

  PathScore& score() { return score_; }

 private:
  std::vector<double> relaxations_;
  std::vector<float> rootWeight_, zero_, lasso_, refitted_, lassoBefore_, refittedBefore_;
  double weights_ = 0, squares_ = 0, sum_ = 0, spread_ = 0;  // of the held-out models: sum of w, w y^2, w y, and w (y - mean)^2
  PathScore score_;
};

}  // namespace lethe
