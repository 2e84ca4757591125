#include "core/train/net_runner.h"

#include <algorithm>

namespace lethe {

namespace {

int64_t roundUp(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// Buffers of equal power-of-two sizes would all start in the same cache set: each starts a few lines later than the one before.
int64_t bufferBytes(const PlanBuffer& buffer, int64_t maxBatch) { return roundUp(buffer.bytesPerImage() * maxBatch, 4096) + 5 * 64; }

int64_t scratchBytes(const NetPlan& plan, const TrainBackend& backend) {
  int64_t floats = 0;
  for (const PlanStep& step : plan.steps) {
    if (step.layer.op != LayerOp::conv) continue;
    const PlanBuffer& x = plan.buffers[static_cast<size_t>(step.in[0])];
    const auto need = step.precision == Precision::bf16 ? backend.bf16->convScratchFloats : backend.fp32->convScratchFloats;
    floats = std::max(floats, need(step.conv, x.h, x.w));
  }
  return roundUp(floats * static_cast<int64_t>(sizeof(float)), 64);
}

int64_t statisticsBytes(const NetPlan& plan) { return roundUp(plan.statisticsFloats * static_cast<int64_t>(sizeof(float)), 64); }
int64_t argmaxBytes(const NetPlan& plan, int64_t maxBatch) { return roundUp(plan.argmaxBytesPerImage * maxBatch, 64); }

}  // namespace

int64_t NetRunner::bytes(const NetPlan& plan, const TrainBackend& backend, int64_t maxBatch, bool withGradients) {
  int64_t total = scratchBytes(plan, backend) + statisticsBytes(plan) + argmaxBytes(plan, maxBatch);
  for (size_t i = 0; i < (withGradients ? plan.buffers.size() : plan.numActivations); ++i) total += bufferBytes(plan.buffers[i], maxBatch);
  return total;
}

NetRunner::NetRunner(const NetPlan& plan, const TrainBackend& backend, int64_t maxBatch, bool withGradients)
    : plan_(plan), fp32_(*backend.fp32), bf16_(*backend.bf16), maxBatch_(maxBatch), arena_(backend, bytes(plan, backend, maxBatch, withGradients)) {
  uint8_t* next = arena_.data();
  scratch_ = reinterpret_cast<float*>(next);
  next += scratchBytes(plan, backend);
  statistics_ = reinterpret_cast<float*>(next);
  next += statisticsBytes(plan);
  argmax_ = next;
  next += argmaxBytes(plan, maxBatch);
  for (size_t i = 0; i < (withGradients ? plan.buffers.size() : plan.numActivations); ++i) {
    bases_.push_back(next);
    next += bufferBytes(plan.buffers[i], maxBatch);
  }
  writeScales(backend);
}

// A scale layer is an affine map that never changes: (2, c) scale, shift.
void NetRunner::writeScales(const TrainBackend& backend) {
  for (const PlanStep& step : plan_.steps) {
    if (step.layer.op != LayerOp::scale) continue;
    const size_t channels = static_cast<size_t>(plan_.buffers[static_cast<size_t>(step.in[0])].c);
    std::vector<float> values(2 * channels, 0.0f);
    std::fill_n(values.begin(), channels, step.layer.factor);
    backend.upload(statistics(step), values.data(), static_cast<int64_t>(values.size() * sizeof(float)));
  }
}

template <typename Value>
ImageOf<Value> NetRunner::view(int buffer, int64_t n) const {
  const PlanBuffer& shape = plan_.buffers[static_cast<size_t>(buffer)];
  return {reinterpret_cast<Value*>(bases_[static_cast<size_t>(buffer)]), n, shape.h, shape.w, shape.c, shape.border};
}

template <>
const ImageKernels<float>& NetRunner::kernels() const {
  return fp32_;
}
template <>
const ImageKernels<Bf16>& NetRunner::kernels() const {
  return bf16_;
}

void NetRunner::gather(int64_t n, const uint8_t* pixels, const int32_t* index, const ImagePlacement* placements, const float* mean, const float* std) {
  if (plan_.buffers[0].precision == Precision::bf16) bf16_.gatherImages(pixels, index, placements, mean, std, view<Bf16>(0, n));
  else fp32_.gatherImages(pixels, index, placements, mean, std, view<float>(0, n));
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
  if (step.precision == Precision::bf16) return imagesForward<Bf16>(step, n, trainBatchNorm, parameters);
  if (step.layer.op != LayerOp::linear) return imagesForward<float>(step, n, trainBatchNorm, parameters);
  const int64_t in = plan_.buffers[static_cast<size_t>(step.in[0])].c, out = plan_.buffers[static_cast<size_t>(step.out)].c;
  fp32_.linear(n, in, out, vector(step.in[0]), parameters + step.weight, step.bias < 0 ? nullptr : parameters + step.bias, vector(step.out));
}

template <typename Value>
void NetRunner::imagesForward(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters) {
  const ImageKernels<Value>& kernel = kernels<Value>();
  const ImageOf<Value> x = view<Value>(step.in[0], n), y = view<Value>(step.out, n);
  switch (step.layer.op) {
    case LayerOp::conv: kernel.convForward(step.conv, x, parameters + step.weight, y, scratch_); break;
    case LayerOp::batchNorm: normForward<Value>(step, n, trainBatchNorm, parameters); break;
    case LayerOp::relu: kernel.relu(x, y); break;
    case LayerOp::add: (step.relu ? kernel.addRelu : kernel.add)(x, view<Value>(step.in[1], n), y); break;
    case LayerOp::maxPool: kernel.maxPool(step.pool, x, y, argmax(step)); break;
    case LayerOp::globalMaxPool: kernel.globalMaxPool(x, vector(step.out), reinterpret_cast<int32_t*>(argmax(step))); break;
    case LayerOp::globalAveragePool: kernel.globalAveragePool(x, vector(step.out)); break;
    case LayerOp::scale: {
      const float* scale = statistics(step);
      kernel.affine(x, scale, scale + x.c, false, y);
      break;
    }
    case LayerOp::linear: break;
  }
}

template <typename Value>
void NetRunner::normForward(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters) {
  const ImageKernels<Value>& kernel = kernels<Value>();
  const ImageOf<Value> x = view<Value>(step.in[0], n);
  float* statistic = statistics(step);  // (5, c): mean, variance, inverseStd, scale, shift
  float *inverseStd = statistic + 2 * x.c, *scale = inverseStd + x.c, *shift = scale + x.c;
  if (trainBatchNorm) kernel.batchNormStatistics(x, statistic, statistic + x.c);
  const float* mean = trainBatchNorm ? statistic : parameters + step.runningMean;
  const float* variance = trainBatchNorm ? statistic + x.c : parameters + step.runningVariance;
  fp32_.foldNorm(x.c, step.layer.epsilon, mean, variance, parameters + step.weight, parameters + step.bias, inverseStd, scale, shift);
  kernel.affine(x, scale, shift, step.relu, view<Value>(step.out, n));
}

void NetRunner::moveRunning(const PlanStep& step, int64_t n, float* parameters) const {
  const PlanBuffer& x = plan_.buffers[static_cast<size_t>(step.in[0])];
  const double count = static_cast<double>(n * x.h * x.w);
  const float unbiased = static_cast<float>(count > 1 ? count / (count - 1) : 1.0);
  const float* mean = statistics(step);
  fp32_.moveRunning(x.c, step.layer.momentum, unbiased, mean, mean + x.c, parameters + step.runningMean, parameters + step.runningVariance);
}

void NetRunner::backward(int64_t n, bool trainBatchNorm, const float* parameters, float* gradient) {
  for (size_t i = plan_.steps.size(); i-- > 0;) {
    const PlanStep& step = plan_.steps[i];
    if (!step.backward) continue;
    if (step.precision == Precision::bf16) imagesBackward<Bf16>(step, n, trainBatchNorm, parameters, gradient);
    else imagesBackward<float>(step, n, trainBatchNorm, parameters, gradient);
    if (observer_) observer_(step, StepPart::rest);
  }
}

void NetRunner::linearBackward(const PlanStep& step, int64_t n, const float* parameters, float* gradient) {
  const int64_t in = plan_.buffers[static_cast<size_t>(step.in[0])].c, out = plan_.buffers[static_cast<size_t>(step.out)].c;
  fp32_.linearBackward(n, in, out, vector(step.in[0]), parameters + step.weight, vector(step.gradient), gradient + step.weight,
                       step.bias < 0 ? nullptr : gradient + step.bias, step.flow[0].write < 0 ? nullptr : vector(step.flow[0].write));
}

template <typename Value>
void NetRunner::imagesBackward(const PlanStep& step, int64_t n, bool trainBatchNorm, const float* parameters, float* gradient) {
  const ImageKernels<Value>& kernel = kernels<Value>();
  const ImageOf<Value> x = view<Value>(step.in[0], n);
  ImageOf<Value> dy = view<Value>(step.gradient, n);
  if (step.masked >= 0) {
    kernel.reluBackward(view<Value>(step.out, n), dy, view<Value>(step.masked, n));
    dy = view<Value>(step.masked, n);
  }
  if (step.layer.op == LayerOp::conv) {
    kernel.convWeightGradient(step.conv, x, dy, gradient + step.weight, scratch_);
    if (observer_) observer_(step, StepPart::weightGradient);
  }
  if (step.layer.op == LayerOp::linear) linearBackward(step, n, parameters, gradient);
  if (step.layer.op == LayerOp::batchNorm) {
    const float* mean = trainBatchNorm ? statistics(step) : parameters + step.runningMean;
    kernel.batchNormBackward(x, dy, mean, statistics(step) + 2 * x.c, parameters + step.weight, parameters + step.bias, step.relu, trainBatchNorm,
                             gradient + step.weight, gradient + step.bias, view<Value>(step.flow[0].write, n));
  }
  for (const GradientFlow& flow : step.flow) {
    if (flow.write < 0) continue;
    const ImageOf<Value> dx = view<Value>(flow.write, n);
    if (step.layer.op == LayerOp::add) {
      kernel.add(view<Value>(flow.addTo, n), dy, dx);
      continue;
    }
    inputGradient<Value>(step, dy, dx, parameters);
    if (flow.addTo >= 0) kernel.add(view<Value>(flow.addTo, n), dx, dx);
  }
}

// Ops whose input gradient was not a by-product of their parameter gradients.
template <typename Value>
void NetRunner::inputGradient(const PlanStep& step, const ImageOf<Value>& dy, const ImageOf<Value>& dx, const float* parameters) {
  const ImageKernels<Value>& kernel = kernels<Value>();
  switch (step.layer.op) {
    case LayerOp::conv: kernel.convInputGradient(step.conv, dy, parameters + step.weight, dx, scratch_); break;
    case LayerOp::relu: kernel.reluBackward(view<Value>(step.out, dy.n), dy, dx); break;
    case LayerOp::maxPool: kernel.maxPoolBackward(step.pool, dy, argmax(step), dx); break;
    case LayerOp::globalMaxPool: kernel.globalMaxPoolBackward(vector(step.gradient), reinterpret_cast<const int32_t*>(argmax(step)), dx); break;
    case LayerOp::globalAveragePool: kernel.globalAveragePoolBackward(vector(step.gradient), dx); break;
    case LayerOp::scale: {
      const float* scale = statistics(step);
      kernel.affine(dy, scale, scale + dx.c, false, dx);
      break;
    }
    case LayerOp::batchNorm:
    case LayerOp::linear:
    case LayerOp::add: break;
  }
}

}  // namespace lethe
