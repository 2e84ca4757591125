#include "lethe/bench/train_rates.h"

#include <algorithm>

#include "bench/stopwatch.h"
#include "core/train/net_plan.h"
#include "core/train/net_runner.h"
#include "lethe/base/random.h"

namespace lethe {

namespace {

constexpr int kLeastSteps = 5;
constexpr int64_t kDistinctBatches = 4;

// One model in training, its parts timed in place: each finds the caches as training leaves them.
class TimedStep {
 public:
  TimedStep(const NetPlan& plan, Isa isa, int64_t batch)
      : plan_(plan), kernels_(trainKernels(isa)), batch_(batch), runner_(plan, cpuBackend(isa), batch, true) {
    const size_t trainable = static_cast<size_t>(plan.layout.numTrainable);
    parameters_.resize(static_cast<size_t>(plan.layout.numParameters));
    gradient_.resize(trainable);
    velocity_.resize(trainable);
    initialiseParameters(plan.layout, 0, 0, parameters_.data());
    Random random(0, Purpose::synthetic, 0);
    pixels_.resize(static_cast<size_t>(kDistinctBatches * batch * plan.net.height * plan.net.width * plan.net.channels));
    for (uint8_t& pixel : pixels_) pixel = static_cast<uint8_t>(random.next());
    labels_.resize(static_cast<size_t>(batch));
    for (int32_t& label : labels_) label = static_cast<int32_t>(random.below(static_cast<uint32_t>(plan.net.numClasses)));
    points_.resize(static_cast<size_t>(batch));
    mean_.assign(static_cast<size_t>(plan.net.channels), 0.5f);
    std_.assign(static_cast<size_t>(plan.net.channels), 0.25f);
    runner_.observe([this](const PlanStep& step, StepPart part) { lapLayer(step, part); });
  }

  void run(int64_t number) {
    part_ = 0;
    for (int64_t i = 0; i < batch_; ++i) points_[static_cast<size_t>(i)] = static_cast<int32_t>(number % kDistinctBatches * batch_ + i);
    last_ = threadSeconds();
    runner_.gather(batch_, pixels_.data(), points_.data(), nullptr, mean_.data(), std_.data());
    lap("step", "images", 0);
    runner_.forward(batch_, true, parameters_.data());
    double loss = 0;
    kernels_.loss({.crossEntropy = 1}, 1, batch_, plan_.net.numClasses, runner_.logits(), labels_.data(), nullptr, runner_.logitsGradient(), &loss);
    lap("step", "loss", 0);
    runner_.backward(batch_, true, parameters_.data(), gradient_.data());
    kernels_.sgdStep(plan_.layout.numTrainable, 1e-3f, 0.9f, 5e-4f, gradient_.data(), velocity_.data(), parameters_.data(), nullptr);
    lap("step", "update", 0);
  }

  void forget() {
    for (std::vector<double>& samples : samples_) samples.clear();
  }

  std::vector<LayerRate> rates() {
    for (size_t i = 0; i < rates_.size(); ++i) {
      std::vector<double>& samples = samples_[i];
      std::sort(samples.begin(), samples.end());
      rates_[i].seconds = (samples[samples.size() / 2] + samples[(samples.size() - 1) / 2]) / 2;
    }
    return rates_;
  }

 private:
  void lapLayer(const PlanStep& step, StepPart part) {
    const bool multiplies = step.layer.op == LayerOp::conv || step.layer.op == LayerOp::linear;
    double operations = multiplies ? 2 * static_cast<double>(batch_ * multiplyAdds(step)) : 0;
    const char* name = "forward";
    if (part == StepPart::weightGradient) name = "weight gradient";
    if (part == StepPart::rest) {
      if (step.layer.op == LayerOp::conv && step.flow[0].write < 0) return;  // the first layer: its input gradient is nobody's
      name = step.layer.op == LayerOp::conv ? "input gradient" : "backward";
      if (step.layer.op == LayerOp::linear) operations *= 2;  // both gradients at once
    }
    lap(step.layer.name, name, operations);
  }

  int64_t multiplyAdds(const PlanStep& step) const {
    const PlanBuffer &in = plan_.buffers[static_cast<size_t>(step.in[0])], &out = plan_.buffers[static_cast<size_t>(step.out)];
    const int64_t taps = step.layer.op == LayerOp::conv ? step.conv.kernel * step.conv.kernel : 1;
    return taps * in.c * out.c * out.h * out.w;
  }

  // The time since the last lap belongs to this part; parts come in the same order in every step.
  void lap(const std::string& layer, const char* name, double operations) {
    const double seconds = threadSeconds() - last_;
    if (part_ == rates_.size()) {
      rates_.push_back({layer, name, 0, operations});
      samples_.emplace_back();
    }
    samples_[part_++].push_back(seconds);
    last_ = threadSeconds();
  }

  const NetPlan& plan_;
  const TrainKernels& kernels_;
  int64_t batch_;
  NetRunner runner_;
  std::vector<float> parameters_, gradient_, velocity_, mean_, std_;
  std::vector<uint8_t> pixels_;
  std::vector<int32_t> labels_, points_;
  std::vector<LayerRate> rates_;
  std::vector<std::vector<double>> samples_;  // of each part
  size_t part_ = 0;
  double last_ = 0;
};

}  // namespace

Status trainLayerRates(const NetSpec& net, Isa isa, Precision precision, int64_t batchSize, double seconds, std::vector<LayerRate>& rates) {
  NetPlan plan;
  const Status status = compileNet(net, precision, plan);
  if (!status.ok()) return status;
  if (batchSize < 1 || batchSize > (1 << 16)) return Status::error("LETHE_ARGUMENT_INVALID", "batchSize: expected 1..2^16.");
  if (!(seconds >= 0 && seconds <= 60)) return Status::error("LETHE_ARGUMENT_INVALID", "seconds: expected 0..60.");
  TimedStep step(plan, isa, batchSize);
  step.run(0);
  step.forget();
  const double start = threadSeconds();
  for (int64_t number = 0; number < kLeastSteps || threadSeconds() - start < seconds; ++number) step.run(number);
  rates = step.rates();
  return Status::success();
}

}  // namespace lethe
