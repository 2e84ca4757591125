// Runs a compiled network forward and backward for one model at a time; every buffer is allocated once, at the largest batch.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "core/train/net_plan.h"
#include "lethe/train/backend.h"

namespace lethe {

// What has just been computed for a step: its output, a convolution's weight gradient, or all that is left of its backward.
enum class StepPart { forward, weightGradient, rest };
using StepObserver = std::function<void(const PlanStep&, StepPart)>;

// All pointers below are the backend's.
class NetRunner {
 public:
  // withGradients: false saves the gradient buffers where only forward is called.
  NetRunner(const NetPlan& plan, const TrainBackend& backend, int64_t maxBatch, bool withGradients);
  NetRunner(const NetRunner&) = delete;
  NetRunner& operator=(const NetRunner&) = delete;

  static int64_t bytes(const NetPlan& plan, const TrainBackend& backend, int64_t maxBatch, bool withGradients);

  // Fills the input of a batch; forward comes next. Arguments as those of gatherImages, n images.
  void gather(int64_t n, const uint8_t* pixels, const int32_t* index, const ImagePlacement* placements, const float* mean, const float* std);
  int64_t numClasses() const { return plan_.net.numClasses; }
  const float* logits() const { return vector(plan_.logits()); }                    // (n, classes)
  float* logitsGradient() const { return vector(plan_.steps.back().gradient); }  // (n, classes)

  // trainBatchNorm: batch statistics are used and the running ones in `parameters` move; else the running ones are used.
  void forward(int64_t n, bool trainBatchNorm, float* parameters);
  void forward(int64_t n, const float* parameters);  // eval mode

  // After forward of the same batch and mode, with logitsGradient() filled. Overwrites gradient (numTrainable).
  void backward(int64_t n, bool trainBatchNorm, const float* parameters, float* gradient);

  // Called after every part of training steps from now on; for clocks.
  void observe(StepObserver observer) { observer_ = std::move(observer); }

 private:
  template <typename Value>
  ImageOf<Value> view(int buffer, int64_t n) const;
  float* vector(int buffer) const { return reinterpret_cast<float*>(bases_[static_cast<size_t>(buffer)]); }  // (n, c)
  template <typename Value>
  const ImageKernels<Value>& kernels() const;
  uint8_t* argmax(const PlanStep& step) const { return argmax_ + step.argmax * maxBatch_; }
  float* statistics(const PlanStep& step) const { return statistics_ + step.statistics; }
  void writeScales(const TrainBackend& backend);

  void forwardStep(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters);
  template <typename Value>
  void imagesForward(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters);
  template <typename Value>
  void normForward(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters);
  void moveRunning(const PlanStep& step, int64_t n, float* parameters) const;
  void linearBackward(const PlanStep& step, int64_t n, const float* parameters, float* gradient);
  template <typename Value>
  void imagesBackward(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters, float* gradient);
  template <typename Value>
  void inputGradient(const PlanStep& step, const ImageOf<Value>& dy, const ImageOf<Value>& dx, const float* parameters);

  const NetPlan& plan_;
  const TrainKernels& fp32_;
  const ImageKernels<Bf16>& bf16_;
  int64_t maxBatch_;
  Arena arena_;
  std::vector<uint8_t*> bases_;  // of the plan's buffers
  float *statistics_ = nullptr, *scratch_ = nullptr;
  uint8_t* argmax_ = nullptr;
  StepObserver observer_;
};

}  // namespace lethe
