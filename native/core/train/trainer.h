// One worker of the training queue: the buffers of one model, reused from job to job.
#pragma once
#include <atomic>
#include <chrono>
#include <vector>

#include "core/train/net_runner.h"
#include "core/train/recordings.h"
#include "core/train/sampler.h"
#include "lethe/train/train.h"

namespace lethe {

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

// A data set where kernels can read it, shared by the workers of a device.
class DeviceImages {
 public:
  DeviceImages(const TrainBackend& backend, const ImageData& data, const NetSpec& net);
  static int64_t bytes(const ImageData& data, const NetSpec& net);

  const uint8_t* pixels;
  const float *mean, *std;

 private:
  Upload pixelsCopy_, meanCopy_, stdCopy_;
};

// Logits in eval mode, a batch of the backend's size at a time.
class Evaluator {
 public:
  Evaluator(const TrainBackend& backend, const DeviceImages& images) : backend_(backend), images_(images), points_(backend, bytes(backend)) {}
  static int64_t bytes(const TrainBackend& backend) { return backend.evalBatch * static_cast<int64_t>(sizeof(int32_t)); }

  // points and logits (count, classes) are the host's, parameters the backend's; stops early when aborted.
  void run(NetRunner& runner, const float* parameters, const int32_t* points, int64_t count, const TaskControl& control, float* logits);

 private:
  const TrainBackend& backend_;
  const DeviceImages& images_;
  Upload points_;
};

// What the jobs of a call need at most.
struct TrainerSize {
  TrainerSize(const TrainRequest& request, const TrainBackend& backend);
  int64_t batch = 1, terms = 1;
  bool adam = false;
};

class Trainer {
 public:
  Trainer(const TrainRequest& request, const NetPlan& plan, const TrainBackend& backend, const DeviceImages& images, const TrainerSize& size,
          QueueProgress& progress);
  static int64_t bytes(const NetPlan& plan, const TrainBackend& backend, const TrainerSize& size);
  TrainOutcome run(const TrainJob& job);

 private:
  // A term during one epoch.
  struct Walk {
    Sampler sampler;
    Placer placer;
  };
  // Arrays of a batch, (n) each, targets (n, classes); null where the term has none.
  struct Batch {
    const int32_t *points, *labels;
    const ImagePlacement* placements;
    const float* targets;
  };

  bool runEpoch(const TrainJob& job, int64_t epoch, TrainOutcome& outcome);
  bool runPass(const TrainJob& job, int64_t epoch, size_t number, int64_t steps, int64_t& step);
  void runStep(const TrainJob& job, const Pass& pass, std::vector<Walk>& walks, double rate);
  Batch drawBatch(const PassTerm& term, Walk& walk, int64_t n);
  void addTerm(const PassTerm& term, Walk& walk, int64_t n, bool trainBatchNorm, float* gradient, double* loss);
  void update(const Optimizer& optimizer, double rate);
  EpochState look() const;
  bool snapshot(const TrainJob& job, int64_t epoch);
  void tick(int64_t images);

  const TrainRequest& request_;
  const NetPlan& plan_;
  const TrainBackend& backend_;
  const TrainKernels& kernels_;
  const DeviceImages& images_;
  QueueProgress& progress_;
  NetRunner runner_;
  Evaluator evaluator_;
  Arena vectors_;  // the backend's memory of what follows
  float *parameters_, *gradient_, *termGradient_ = nullptr, *first_, *second_ = nullptr;
  double* losses_;  // (terms)
  EpochState* state_;
  std::vector<uint8_t> batch_;  // the arrays of a batch, one after the other: one upload
  Upload batchCopy_;
  Recordings recordings_;
  int64_t optimizerSteps_ = 0, ticked_ = 0;
  std::chrono::steady_clock::time_point lastReport_;
};

}  // namespace lethe
