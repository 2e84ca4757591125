#include "net_runner.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

namespace lethe {

namespace {

constexpr int64_t kHugePage = 2 << 20;

int64_t roundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Buffers of equal power-of-two sizes would all start in the same cache set: each starts a few lines later than the one before.
int64_t bufferBytes(const PlanBuffer& buffer, int64_t maxBatch) {
  return roundUp(buffer.floatsPerImage() * maxBatch * static_cast<int64_t>(sizeof(float)), 4096) + 5 * 64;
}

int64_t scratchFloats(const NetPlan& plan, const TrainKernels& kernels) {
  int64_t floats = 0;
  for (const PlanStep& step : plan.steps) {
    if (step.layer.op == LayerOp::conv) floats = std::max(floats, kernels.convScratchFloats(step.conv));
  }
  return floats;
}

}  // namespace

Arena::Arena(int64_t numBytes) {
  const size_t size = static_cast<size_t>(roundUp(std::max<int64_t>(numBytes, 1), kHugePage));
  memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(kHugePage, size)));
  if (!memory_) throw std::bad_alloc();
  madvise(memory_.get(), size, MADV_HUGEPAGE);  // a hint: failure costs speed only
  std::memset(memory_.get(), 0, size);
}

int64_t NetRunner::bytes(const NetPlan& plan, const TrainKernels& kernels, int64_t maxBatch, bool withGradients) {
  int64_t total = plan.argmaxBytesPerImage * maxBatch + roundUp(scratchFloats(plan, kernels) * static_cast<int64_t>(sizeof(float)), 64);
  for (size_t i = 0; i < (withGradients ? plan.buffers.size() : plan.numActivations); ++i) total += bufferBytes(plan.buffers[i], maxBatch);
  return total;
}

NetRunner::NetRunner(const NetPlan& plan, const TrainKernels& kernels, int64_t maxBatch, bool withGradients)
    : plan_(plan),
      kernels_(kernels),
      maxBatch_(maxBatch),
      arena_(bytes(plan, kernels, maxBatch, withGradients)),
      statistics_(static_cast<size_t>(plan.statisticsFloats)) {
  uint8_t* next = arena_.data();
  scratch_ = reinterpret_cast<float*>(next);
  next += roundUp(scratchFloats(plan, kernels) * static_cast<int64_t>(sizeof(float)), 64);
  argmax_ = next;
  next += plan.argmaxBytesPerImage * maxBatch;
  for (size_t i = 0; i < (withGradients ? plan.buffers.size() : plan.numActivations); ++i) {
    bases_.push_back(reinterpret_cast<float*>(next));
    next += bufferBytes(plan.buffers[i], maxBatch);
  }
}

ImageView NetRunner::view(int buffer, int64_t n) const {
  const PlanBuffer& shape = plan_.buffers[static_cast<size_t>(buffer)];
  return {bases_[static_cast<size_t>(buffer)], n, shape.h, shape.w, shape.c, shape.border};
}

void NetRunner::forward(int64_t n, bool trainBatchNorm, float* parameters) {
  for (const PlanStep& step : plan_.steps) {
    forwardStep(step, n, trainBatchNorm, parameters);
    if (trainBatchNorm && step.layer.op == LayerOp::batchNorm) moveRunning(step, n, parameters);
    if (observer_) observer_(step, StepPart::forward);
  }
}

void NetRunner::forward(int64_t n, const float* parameters) {
  for (const PlanStep& step : plan_.steps) forwardStep(step, n, false, parameters);
}

void NetRunner::forwardStep(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters) {
  const ImageView x = view(step.in[0], n), y = view(step.out, n);
  uint8_t* argmax = argmax_ + step.argmax * maxBatch_;
  switch (step.layer.op) {
    case LayerOp::conv: kernels_.convForward(step.conv, x, parameters + step.weight, y, scratch_); break;
    case LayerOp::batchNorm: normForward(step, n, trainBatchNorm, parameters); break;
    case LayerOp::relu: kernels_.relu(x, y); break;
    case LayerOp::add: kernels_.add(x, view(step.in[1], n), y); break;
    case LayerOp::maxPool: kernels_.maxPool(x, step.layer.size, y, argmax); break;
    case LayerOp::globalMaxPool: kernels_.globalMaxPool(x, y.data, reinterpret_cast<int32_t*>(argmax)); break;
    case LayerOp::globalAveragePool: kernels_.globalAveragePool(x, y.data); break;
    case LayerOp::linear:
      kernels_.linear(n, x.c, y.c, x.data, parameters + step.weight, step.bias < 0 ? nullptr : parameters + step.bias, y.data);
      break;
    case LayerOp::scale: {
      float* scale = statistics_.data() + step.statistics;
      std::fill(scale, scale + x.c, step.layer.factor);
      std::fill(scale + x.c, scale + 2 * x.c, 0.0f);
      kernels_.affine(x, scale, scale + x.c, false, y);
      break;
    }
  }
}

void NetRunner::normForward(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters) {
  const ImageView x = view(step.in[0], n);
  float* mean = statistics_.data() + step.statistics;  // (5, c): mean, variance, inverseStd, scale, shift
  float *variance = mean + x.c, *inverseStd = variance + x.c, *scale = inverseStd + x.c, *shift = scale + x.c;
  if (trainBatchNorm) {
    kernels_.batchNormStatistics(x, mean, variance);
  } else {
    std::copy_n(parameters + step.runningMean, x.c, mean);
    std::copy_n(parameters + step.runningVariance, x.c, variance);
  }
  const float *gamma = parameters + step.weight, *beta = parameters + step.bias;
  for (int64_t c = 0; c < x.c; ++c) {
    inverseStd[c] = 1.0f / std::sqrt(variance[c] + step.layer.epsilon);
    scale[c] = gamma[c] * inverseStd[c];
    shift[c] = beta[c] - mean[c] * scale[c];
  }
  kernels_.affine(x, scale, shift, step.relu, view(step.out, n));
}

void NetRunner::moveRunning(const PlanStep& step, int64_t n, float* parameters) const {
  const PlanBuffer& x = plan_.buffers[static_cast<size_t>(step.in[0])];
  const float* mean = statistics_.data() + step.statistics;
  const float* variance = mean + x.c;
  const double count = static_cast<double>(n * x.h * x.w);
  const float unbiased = static_cast<float>(count > 1 ? count / (count - 1) : 1.0), momentum = step.layer.momentum;
  float *runningMean = parameters + step.runningMean, *runningVariance = parameters + step.runningVariance;
  for (int64_t c = 0; c < x.c; ++c) {
    runningMean[c] = (1.0f - momentum) * runningMean[c] + momentum * mean[c];
    runningVariance[c] = (1.0f - momentum) * runningVariance[c] + momentum * unbiased * variance[c];
  }
}

void NetRunner::backward(int64_t n, bool trainBatchNorm, const float* parameters, float* gradient) {
  for (size_t i = plan_.steps.size(); i-- > 0;) {
    if (!plan_.steps[i].backward) continue;
    backwardStep(plan_.steps[i], n, trainBatchNorm, parameters, gradient);
    if (observer_) observer_(plan_.steps[i], StepPart::rest);
  }
}

void NetRunner::backwardStep(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters, float* gradient) {
  const ImageView x = view(step.in[0], n), dy = view(step.gradient, n);
  if (step.layer.op == LayerOp::conv) {
    kernels_.convWeightGradient(step.conv, x, dy, gradient + step.weight, scratch_);
    if (observer_) observer_(step, StepPart::weightGradient);
  }
  if (step.layer.op == LayerOp::linear) {
    kernels_.linearBackward(n, x.c, dy.c, x.data, parameters + step.weight, dy.data, gradient + step.weight,
                            step.bias < 0 ? nullptr : gradient + step.bias, step.flow[0].write < 0 ? nullptr : bases_[static_cast<size_t>(step.flow[0].write)]);
  }
  if (step.layer.op == LayerOp::batchNorm) {
    const float* mean = statistics_.data() + step.statistics;
    kernels_.batchNormBackward(x, dy, mean, mean + 2 * x.c, parameters + step.weight, parameters + step.bias, step.relu, trainBatchNorm,
                               gradient + step.weight, gradient + step.bias, view(step.flow[0].write, n));
  }
  for (const GradientFlow& flow : step.flow) {
    if (flow.write < 0) continue;
    const ImageView dx = view(flow.write, n);
    if (step.layer.op == LayerOp::add) {
      kernels_.add(view(flow.addTo, n), dy, dx);
      continue;
    }
    inputGradient(step, dy, dx, parameters);
    if (flow.addTo >= 0) kernels_.add(view(flow.addTo, n), dx, dx);
  }
}

// Ops whose input gradient was not a by-product of their parameter gradients.
void NetRunner::inputGradient(const PlanStep& step, const ImageView& dy, const ImageView& dx, const float* parameters) {
  const uint8_t* argmax = argmax_ + step.argmax * maxBatch_;
  switch (step.layer.op) {
    case LayerOp::conv: kernels_.convInputGradient(step.conv, dy, parameters + step.weight, dx, scratch_); break;
    case LayerOp::relu: kernels_.reluBackward(view(step.out, dy.n), dy, dx); break;
    case LayerOp::maxPool: kernels_.maxPoolBackward(dy, step.layer.size, argmax, dx); break;
    case LayerOp::globalMaxPool: kernels_.globalMaxPoolBackward(dy.data, reinterpret_cast<const int32_t*>(argmax), dx); break;
    case LayerOp::globalAveragePool: kernels_.globalAveragePoolBackward(dy.data, dx); break;
    case LayerOp::scale: {
      const float* scale = statistics_.data() + step.statistics;
      kernels_.affine(dy, scale, scale + dx.c, false, dx);
      break;
    }
    case LayerOp::batchNorm:
    case LayerOp::linear:
    case LayerOp::add: break;
  }
}

}  // namespace lethe
