// Training and inference of many models of one network: the native side of Engine (src/types.ts), one model per core, or many at a
// time on each GPU.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lethe/base/isa.h"
#include "lethe/base/status.h"
#include "lethe/base/task.h"
#include "lethe/gpu_ops.h"
#include "lethe/train/kernels.h"
#include "lethe/train/net.h"

namespace lethe {

// Points are rows of pixels (numPoints, h, w, c) and labels (numPoints).
struct ImageData {
  const uint8_t* pixels = nullptr;
  const int32_t* labels = nullptr;
  int64_t numPoints = 0;
  std::vector<float> mean, std;  // (c), on the 0..1 scale
};

// A weighted index set of a pass; each step draws batchSize of it.
struct PassTerm {
  const int32_t* indices = nullptr;  // (count) points, repeats allowed
  int64_t count = 0;
  const float* targets = nullptr;  // (count, classes), row r belongs to indices[r]; or null
  LossWeights objective;
  float weight = 1;
  int64_t batchSize = 1;
  // -1: an epoch walks through all rows; else through the first alwaysIncluded rows and this many of the others, redrawn every epoch.
  int64_t samplePerEpoch = -1, alwaysIncluded = 0;
};

// Random crops of the image padded by cropPadding on all sides, and horizontal flips of every second image.
struct Augmentation {
  int64_t cropPadding = 0;
  bool flip = false;
};

struct Pass {
  std::vector<PassTerm> terms;
  int64_t activeEpochs = INT64_MAX;
  bool trainBatchNorm = true;
  Augmentation augmentation;  // of the images of all terms
};

struct Optimizer {
  enum class Kind { sgd, adam } kind = Kind::sgd;
  float momentum = 0, weightDecay = 0, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
};

struct Schedule {
  enum class Kind { constant, triangle, cosine, exponential, steps } kind = Kind::constant;
  double learningRate = 0, peakEpoch = 0, factor = 1;
  std::vector<double> atEpochs;
};

// Learning rate of a step that starts `position` epochs into a job of `epochs`; exponential and steps use floor(position).
double learningRate(const Schedule& schedule, double position, double epochs);

struct TrainJob {
  uint64_t modelIndex = 0, seed = 0;
  int64_t epochs = 0;
  std::vector<Pass> passes;
  Optimizer optimizer;
  Schedule schedule;
  const float* initialParameters = nullptr;  // (numParameters), or null: initialise from (seed, modelIndex)
  float* logits = nullptr;                   // out (evalEpochs, evalPoints, classes)
  float* parameters = nullptr;               // out (numParameters), or null
};

struct TrainOutcome {
  int64_t divergedAtEpoch = 0;  // 1-based; 0: trained. Outputs from that epoch on are NaN.
  double loss = 0;              // mean over the images of the last epoch run; NaN when no epoch ran
  double elapsedMs = 0;
  int64_t gradientImages = 0;
};

struct TrainRequest {
  NetSpec net;
  Isa isa = Isa::portable;       // of the CPU
  const GpuOps* gpu = nullptr;   // null: the CPU trains
  GpuOptions gpuOptions;
  Precision precision = Precision::fp32;
  int threads = 0;  // models at the same time; 0: allowedThreads(), or what 16 models for each GPU and their memory allow
  ImageData data;
  std::vector<TrainJob> jobs;
  const int32_t* evalPoints = nullptr;
  int64_t numEvalPoints = 0;
  std::vector<int64_t> evalEpochs;  // sorted; 0 is the model before training
};

// Deterministic per job: the same bytes for any number of threads, GPUs, order and grouping of jobs. Progress is in gradient images.
// LETHE_NET_INVALID, LETHE_JOB_INVALID (also for indices and labels out of range), LETHE_TASK_ABORTED, LETHE_MEMORY_EXHAUSTED; on GPUs
// LETHE_GPU_UNAVAILABLE, LETHE_GPU_MEMORY_EXHAUSTED (with the bytes that one model needs), LETHE_GPU_FAILED.
Status trainMany(const TrainRequest& request, const TaskControl& control, std::vector<TrainOutcome>& outcomes);

struct ForwardRequest {
  NetSpec net;
  Isa isa = Isa::portable;
  const GpuOps* gpu = nullptr;
  GpuOptions gpuOptions;
  Precision precision = Precision::fp32;
  int threads = 0;
  ImageData data;
  std::vector<const float*> parameters;  // a model each, (numParameters)
  const int32_t* points = nullptr;
  int64_t numPoints = 0;
  float* logits = nullptr;  // out (models, numPoints, classes)
};

// Eval mode. Progress is in images.
Status forwardMany(const ForwardRequest& request, const TaskControl& control);

struct NetDescription {
  ParameterLayout layout;
  int64_t multiplyAdds = 0;  // forward, one image
  int64_t memoryBytes = 0;   // of one model in training at this batch size, Adam and two-term sums included
};

Status describeNet(const NetSpec& net, Isa isa, Precision precision, int64_t batchSize, NetDescription& description);

}  // namespace lethe
