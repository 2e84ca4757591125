#include "lethe/ridge/study.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>

#include "lethe/base/parallel.h"
#include "lethe/base/random.h"

namespace lethe {

void drawBatch(Random& random, int64_t numPoints, int64_t batchSize, int64_t* batch) {
  // Floyd's subset: one draw a point, no duplicates, nothing to restore afterwards
  for (int64_t count = 0, last = numPoints - batchSize; count < batchSize; ++count, ++last) {
    const int64_t drawn = random.below(static_cast<uint32_t>(last + 1));
    batch[count] = std::find(batch, batch + count, drawn) == batch + count ? drawn : last;
  }
}

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kAbortCheck = 256;  // iterations between looks at the abort flag

// What one point contributes to the gradient of a method: 2 weight (x_i . theta - target) x_i + 2 penalty theta.
struct PointRule {
  double weight, target, penalty;
};

bool drawsFromAll(RidgeMethod method) { return method == RidgeMethod::ascent || method == RidgeMethod::matching; }

double dot(const double* a, const double* b, int64_t count) {
  double sum = 0;
  for (int64_t j = 0; j < count; ++j) sum += a[j] * b[j];
  return sum;
}

std::vector<PointRule> pointRules(const RidgeProblem& problem, const RidgeRun& run) {
  std::vector<PointRule> rules;
  for (int64_t i = 0; i < problem.numTrain; ++i) {
    const bool retain = i < problem.numRetain();
    const double oracle = dot(problem.x + i * problem.dim, problem.thetaStar, problem.dim);
    const double penalty = problem.lambda / static_cast<double>(problem.numRetain());
    switch (run.method) {
      case RidgeMethod::descent: rules.push_back({retain ? 1.0 : 0.0, problem.y[i], retain ? penalty : 0.0}); break;
      case RidgeMethod::ascent: rules.push_back({retain ? 1.0 : -run.ascentWeight, problem.y[i], retain ? penalty : 0.0}); break;
      case RidgeMethod::matching: rules.push_back({1.0, oracle, 0.0}); break;
      case RidgeMethod::matchingRetain: rules.push_back({retain ? 1.0 : 0.0, oracle, 0.0}); break;
    }
  }
  return rules;
}

// Up to kStepLanes step sizes of a run, advanced together. Ended lanes stand still at zero.
class LaneBlock {
 public:
  LaneBlock(const RidgeProblem& problem, const RidgeRun& run, const RidgeOptions& options, const RidgeOutcome& out)
      : problem_(problem),
        run_(run),
        options_(options),
        out_(out),
        kernels_(ridgeKernels(options.isa)),
        rules_(pointRules(problem, run)),
        theta_(static_cast<size_t>(problem.dim * kStepLanes)),
        product_(theta_.size()) {
    double scale = 0;
    for (int64_t j = 0; j < problem.dim; ++j) scale += square(problem.thetaFull[j] - problem.thetaStar[j]);
    scale_ = scale;
    if (run.batchSize == 0) assembleFull();
  }

  // Advances the step sizes at positions lanes[0 .. count) of options.steps.
  void advance(const size_t* lanes, int64_t count, const TaskControl& control) {
    lanes_ = lanes;
    for (int64_t l = 0; l < kStepLanes; ++l) {
      step_[l] = l < count ? options_.steps[lanes[l]] : 0;
      for (int64_t j = 0; j < problem_.dim; ++j) theta_[at(j, l)] = l < count ? problem_.thetaFull[j] : 0;
    }
    live_ = count;
    Random random(options_.seed, Purpose::minibatch, run_.repetition, drawsFromAll(run_.method) ? 0 : 1);
    size_t next = 0;
    for (int64_t t = 0; live_ > 0; ++t) {
      if (options_.loggedAt[next] == t) record(count, next++);
      if (t == options_.loggedAt.back() || (t % kAbortCheck == 0 && control.aborted())) break;
      if (run_.batchSize == 0) fullStep();
      else stochasticStep(random);
    }
  }

 private:
  static double square(double value) { return value * value; }
  size_t at(int64_t j, int64_t lane) const { return static_cast<size_t>(j * kStepLanes + lane); }

  // The full gradient is 2 (H theta - c): H = sum_i weight x_i x_i^T + penalties, c = sum_i weight target x_i. One product of size dim
  // instead of two of size (numTrain, dim).
  void assembleFull() {
    const int64_t dim = problem_.dim;
    hessian_.assign(static_cast<size_t>(dim * dim), 0);
    linear_.assign(static_cast<size_t>(dim), 0);
    double penalty = 0;
    for (int64_t i = 0; i < problem_.numTrain; ++i) {
      const PointRule& rule = rules_[static_cast<size_t>(i)];
      const double* row = problem_.x + i * dim;
      if (rule.penalty != 0) penalty = problem_.lambda;
      for (int64_t j = 0; j < dim; ++j) {
        const double scaled = rule.weight * row[j];
        linear_[static_cast<size_t>(j)] += rule.target * scaled;
        for (int64_t k = 0; k < dim; ++k) hessian_[static_cast<size_t>(j * dim + k)] += scaled * row[k];
      }
    }
    for (int64_t j = 0; j < dim; ++j) {
      hessian_[static_cast<size_t>(j * dim + j)] += penalty;
      rows_.push_back(hessian_.data() + j * dim);
    }
  }

  void fullStep() {
    kernels_.project(rows_.data(), problem_.dim, problem_.dim, theta_.data(), product_.data());
    for (int64_t j = 0; j < problem_.dim; ++j) {
      const double constant = linear_[static_cast<size_t>(j)];
      for (int64_t l = 0; l < kStepLanes; ++l) theta_[at(j, l)] -= 2 * step_[l] * (product_[at(j, l)] - constant);
    }
  }

  void stochasticStep(Random& random) {
    const size_t size = static_cast<size_t>(run_.batchSize);
    batch_.resize(size);
    rows_.resize(size);
    product_.resize(std::max(product_.size(), size * kStepLanes));
    drawBatch(random, drawsFromAll(run_.method) ? problem_.numTrain : problem_.numRetain(), run_.batchSize, batch_.data());
    double penalty = 0;
    for (size_t b = 0; b < size; ++b) {
      rows_[b] = problem_.x + batch_[b] * problem_.dim;
      penalty += rules_[static_cast<size_t>(batch_[b])].penalty;
    }
    kernels_.project(rows_.data(), run_.batchSize, problem_.dim, theta_.data(), product_.data());
    double shrink[kStepLanes];
    for (int64_t l = 0; l < kStepLanes; ++l) {
      shrink[l] = 1 - 2 * step_[l] * penalty;
      for (size_t b = 0; b < size; ++b) {
        const PointRule& rule = rules_[static_cast<size_t>(batch_[b])];
        double& entry = product_[b * kStepLanes + static_cast<size_t>(l)];
        entry = 2 * step_[l] * rule.weight * (entry - rule.target);
      }
    }
    kernels_.descend(rows_.data(), run_.batchSize, problem_.dim, shrink, product_.data(), theta_.data());
  }

  void record(int64_t count, size_t log) {
    const size_t numLogs = options_.loggedAt.size();
    for (int64_t l = 0; l < count; ++l) {
      if (step_[l] == 0) continue;
      double inside = 0, outside = 0;
      for (int64_t j = 0; j < problem_.dim; ++j) {
        (j < problem_.spanSize ? inside : outside) += square(theta_[at(j, l)] - problem_.thetaStar[j]);
        if (out_.iterates) out_.iterates[(lanes_[l] * numLogs + log) * static_cast<size_t>(problem_.dim) + static_cast<size_t>(j)] = theta_[at(j, l)];
      }
      inside /= scale_;
      outside /= scale_;
      double* insides = out_.inSpan + lanes_[l] * numLogs;
      double* outsides = out_.orthogonal + lanes_[l] * numLogs;
      const bool diverged = !(inside + outside <= options_.divergedAbove);
      const bool converged = inside + outside < options_.convergedBelow;
      insides[log] = diverged ? kInfinity : inside;
      outsides[log] = diverged ? kInfinity : outside;
      if (diverged || converged) {
        std::fill(insides + log, insides + numLogs, insides[log]);
        std::fill(outsides + log, outsides + numLogs, outsides[log]);
        end(l, diverged ? RidgeEnding::diverged : RidgeEnding::converged);
      }
    }
  }

  void end(int64_t lane, RidgeEnding how) {
    out_.endings[lanes_[lane]] = static_cast<uint8_t>(how);
    step_[lane] = 0;
    for (int64_t j = 0; j < problem_.dim; ++j) theta_[at(j, lane)] = 0;  // no infinities to drag along
    --live_;
  }

  const RidgeProblem& problem_;
  const RidgeRun& run_;
  const RidgeOptions& options_;
  const RidgeOutcome& out_;
  const RidgeKernels& kernels_;
  std::vector<PointRule> rules_;        // (numTrain)
  std::vector<double> theta_;           // (dim, kStepLanes)
  std::vector<double> product_;         // (max(dim, batchSize), kStepLanes)
  std::vector<double> hessian_, linear_;  // (dim, dim), (dim): full batch
  std::vector<const double*> rows_;
  std::vector<int64_t> batch_;
  double step_[kStepLanes] = {};
  const size_t* lanes_ = nullptr;
  int64_t live_ = 0;
  double scale_ = 1;
};

void runOne(const RidgeProblem& problem, const RidgeRun& run, const RidgeOptions& options, const RidgeOutcome& out, const TaskControl& control) {
  // neighbouring step sizes end together, so that blocks of divergent ones are soon over
  std::vector<size_t> order(options.steps.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return options.steps[a] < options.steps[b]; });
  std::fill_n(out.endings, options.steps.size(), static_cast<uint8_t>(RidgeEnding::ran));
  LaneBlock block(problem, run, options, out);
  for (size_t begin = 0; begin < order.size() && !control.aborted(); begin += kStepLanes) {
    block.advance(order.data() + begin, std::min<int64_t>(kStepLanes, static_cast<int64_t>(order.size() - begin)), control);
  }
}

Status invalid(const std::string& text) { return Status::error("LETHE_LINEAR_INVALID", text); }

Status check(const std::vector<RidgeProblem>& problems, const std::vector<RidgeRun>& runs, const RidgeOptions& options, size_t numOutcomes) {
  for (const RidgeProblem& problem : problems) {
    const bool sizes = problem.numForget > 0 && problem.numForget < problem.numTrain && problem.numTrain <= UINT32_MAX && problem.dim > 0 &&
                       problem.spanSize >= 0 && problem.spanSize <= problem.dim;
    if (!sizes) return invalid("expected 0 < numForget < numTrain < 2^32, 0 <= spanSize <= dim and dim > 0.");
    if (!(problem.lambda >= 0)) return invalid("expected lambda >= 0; received " + std::to_string(problem.lambda) + ".");
  }
  for (double step : options.steps) {
    if (!(step > 0) || std::isinf(step)) return invalid("expected positive step sizes; received " + std::to_string(step) + ".");
  }
  const std::vector<int64_t>& logged = options.loggedAt;
  if (logged.empty() || logged[0] < 0 || std::adjacent_find(logged.begin(), logged.end(), std::greater_equal<>()) != logged.end()) {
    return invalid("expected increasing iteration counts in loggedAt.");
  }
  for (const RidgeRun& run : runs) {
    if (run.problem < 0 || run.problem >= static_cast<int64_t>(problems.size())) return invalid("a run names a problem that is not there.");
    const RidgeProblem& problem = problems[static_cast<size_t>(run.problem)];
    if (run.batchSize < 0 || run.batchSize > (drawsFromAll(run.method) ? problem.numTrain : problem.numRetain())) {
      return invalid("expected a batch of at most the points it is drawn from; received " + std::to_string(run.batchSize) + ".");
    }
  }
  if (numOutcomes != runs.size()) return invalid("expected one outcome a run.");
  return Status::success();
}

}  // namespace

Status ridgeStudy(const std::vector<RidgeProblem>& problems, const std::vector<RidgeRun>& runs, const RidgeOptions& options,
                  const std::vector<RidgeOutcome>& outcomes, const TaskControl& control) {
  const Status checked = check(problems, runs, options, outcomes.size());
  if (!checked.ok()) return checked;
  std::atomic<int64_t> done{0};
  parallelFor(static_cast<int64_t>(runs.size()), options.threads, [&](int64_t index, int) {
    if (control.aborted()) return;
    const RidgeRun& run = runs[static_cast<size_t>(index)];
    runOne(problems[static_cast<size_t>(run.problem)], run, options, outcomes[static_cast<size_t>(index)], control);
    control.report(static_cast<double>(++done), static_cast<double>(runs.size()));
  });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "the linear study was stopped before the end.");
  return Status::success();
}

}  // namespace lethe
