// One worker of the training queue: the buffers of one model, reused from job to job.
#pragma once
#include <atomic>
#include <chrono>
#include <vector>

#include "lethe/train.h"
#include "net_runner.h"
#include "sampler.h"

namespace lethe {

constexpr int64_t kEvalBatch = 64;  // fixed, so that eval logits never depend on a job's batch size

// Progress of all workers together.
struct QueueProgress {
  const TaskControl& control;
  double total = 0;
  std::atomic<int64_t> done{0};

  void add(int64_t images) { done.fetch_add(images, std::memory_order_relaxed); }
  void report() const { control.report(static_cast<double>(done.load(std::memory_order_relaxed)), total); }
};

// Examples that one epoch takes from a term: its sample, or all of it.
int64_t examplesPerEpoch(const PassTerm& term);
// Images of forward and backward that a job will take.
int64_t plannedImages(const TrainJob& job);
// The largest batch of a job.
int64_t largestBatch(const TrainJob& job);

// Eval-mode logits (count, classes) of points; stops early when aborted.
void evaluate(NetRunner& runner, const ImageData& data, const float* parameters, const int32_t* points, int64_t count,
              const TaskControl& control, float* logits);

class Trainer {
 public:
  Trainer(const TrainRequest& request, const NetPlan& plan, int64_t maxBatch, int64_t maxTerms, bool adam, QueueProgress& progress);
  TrainOutcome run(const TrainJob& job);

 private:
  // A term during one epoch.
  struct Walk {
    Sampler sampler;
    Placer placer;
  };

  bool runEpoch(const TrainJob& job, int64_t epoch, TrainOutcome& outcome);
  double runStep(const TrainJob& job, const Pass& pass, std::vector<Walk>& walks, double rate, TrainOutcome& outcome);
  double addTerm(const PassTerm& term, Walk& walk, int64_t n, bool trainBatchNorm, float* gradient);
  void update(const Optimizer& optimizer, double rate);
  bool snapshot(const TrainJob& job, int64_t epoch);
  void tick(int64_t images);

  const TrainRequest& request_;
  const NetPlan& plan_;
  const TrainKernels& kernels_;
  QueueProgress& progress_;
  NetRunner runner_;
  std::vector<float> parameters_, gradient_, termGradient_, first_, second_, targets_;
  std::vector<int32_t> points_, labels_;
  std::vector<ImagePlacement> placements_;
  int64_t optimizerSteps_ = 0;
  std::chrono::steady_clock::time_point lastReport_;
};

}  // namespace lethe
