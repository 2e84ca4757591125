#include "core/train/net_plan.h"

#include <algorithm>

namespace lethe {

namespace {

// A value is the output of one step (or the image, value 0); value v > 0 belongs to step v - 1 and to activation buffer v.
class Compiler {
 public:
  Compiler(const NetSpec& net, Precision precision, std::vector<ValueShape> shapes, NetPlan& plan)
      : net_(net), precision_(precision), shapes_(std::move(shapes)), plan_(plan) {}

  Status run() {
    plan_.net = net_;
    plan_.layout = layoutParameters(net_, shapes_);
    plan_.multiplyAdds = countMultiplyAdds(net_, shapes_);
    makeSteps();
    for (size_t value = 1; value + 1 < consumers_.size(); ++value) {
      if (consumers_[value].empty()) return fault(value, "its output is never used. Remove it or use it.");
    }
    setBorders();
    plan_.numActivations = plan_.buffers.size();
    planBackward();
    return checkVectors();
  }

 private:
  Status fault(size_t value, const std::string& text) const {
    return Status::error("LETHE_NET_INVALID", "layer \"" + plan_.steps[value - 1].layer.name + "\" of network \"" + net_.name + "\": " + text);
  }

  size_t uses(size_t layer) const {
    size_t count = 0;
    for (const LayerSpec& other : net_.layers) {
      count += static_cast<size_t>(std::count(other.inputs.begin(), other.inputs.end(), net_.layers[layer].name));
    }
    return count;
  }

  static bool takesRelu(const LayerSpec& layer) { return layer.op == LayerOp::batchNorm || layer.op == LayerOp::add; }

  void makeSteps() {
    std::vector<int> valueOf(net_.layers.size(), -1);  // -1: fused into the step before
    plan_.buffers.push_back({net_.height, net_.width, net_.channels, 0, precision_});
    consumers_.emplace_back();
    for (size_t i = 0; i < net_.layers.size(); ++i) {
      const LayerSpec& layer = net_.layers[i];
      const int64_t from = inputIndex(net_, layer.inputs[0]);
      if (layer.op == LayerOp::relu && from >= 0 && takesRelu(net_.layers[static_cast<size_t>(from)]) && uses(static_cast<size_t>(from)) == 1) {
        valueOf[i] = valueOf[static_cast<size_t>(from)];
        plan_.steps[static_cast<size_t>(valueOf[i]) - 1].relu = true;
        continue;
      }
      PlanStep step;
      step.layer = layer;
      step.precision = layer.op == LayerOp::linear ? Precision::fp32 : precision_;
      for (size_t k = 0; k < layer.inputs.size(); ++k) {
        const int64_t index = inputIndex(net_, layer.inputs[k]);
        step.in[k] = index < 0 ? 0 : valueOf[static_cast<size_t>(index)];
        if (buffer(step.in[k]).precision == Precision::fp32) step.precision = Precision::fp32;
      }
      for (size_t k = 0; k < layer.inputs.size(); ++k) {
        if (step.precision == Precision::fp32) step.in[k] = widen(step.in[k]);
      }
      valueOf[i] = addStep(step, shapes_[i]);
    }
    widen(static_cast<int>(plan_.buffers.size()) - 1);
  }

  const PlanBuffer& buffer(int value) const { return plan_.buffers[static_cast<size_t>(value)]; }

  // A step with its value; its inputs are known.
  int addStep(PlanStep& step, const ValueShape& shape) {
    const bool vector = step.layer.op == LayerOp::globalMaxPool || step.layer.op == LayerOp::globalAveragePool;
    step.out = static_cast<int>(plan_.buffers.size());
    for (int input : step.in) {
      if (input >= 0) consumers_[static_cast<size_t>(input)].push_back(step.out);
    }
    plan_.buffers.push_back({shape.h, shape.w, shape.c, 0, vector ? Precision::fp32 : step.precision});
    consumers_.emplace_back();
    placeState(step);
    plan_.steps.push_back(step);
    return step.out;
  }

  // The value in fp32. What meets an fp32 value or a linear layer has one pixel, so that its average is the value itself.
  int widen(int value) {
    if (buffer(value).precision == Precision::fp32) return value;
    PlanStep step;
    step.layer.op = LayerOp::globalAveragePool;
    step.layer.name = value == 0 ? "image" : producer(value).layer.name;
    step.precision = Precision::bf16;
    step.in[0] = value;
    return addStep(step, {1, 1, buffer(value).c});
  }

  void placeState(PlanStep& step) {
    const LayerSpec& layer = step.layer;
    const PlanBuffer& in = plan_.buffers[static_cast<size_t>(step.in[0])];
    const auto offset = [&](const char* suffix) { return plan_.layout.find(layer.name + suffix).offset; };
    step.backward = layer.op == LayerOp::conv || layer.op == LayerOp::linear || layer.op == LayerOp::batchNorm;
    for (int input : step.in) step.backward = step.backward || (input > 0 && needsGradient(input));
    if (layer.op == LayerOp::conv) {
      step.conv = {in.c, layer.outChannels, layer.kernel, layer.stride, layer.pad};
      step.weight = offset(".weight");
    } else if (layer.op == LayerOp::linear) {
      step.weight = offset(".weight");
      if (layer.bias) step.bias = offset(".bias");
    } else if (layer.op == LayerOp::maxPool) {
      step.pool = {layer.size, layer.stride, layer.pad};
    } else if (layer.op == LayerOp::batchNorm) {
      step.weight = offset(".gamma");
      step.bias = offset(".beta");
      step.runningMean = offset(".runningMean");
      step.runningVariance = offset(".runningVariance");
    }
    if (layer.op == LayerOp::batchNorm || layer.op == LayerOp::scale) {
      step.statistics = plan_.statisticsFloats;
      plan_.statisticsFloats += 5 * in.c;
    }
    if (layer.op == LayerOp::maxPool || layer.op == LayerOp::globalMaxPool) {
      const PlanBuffer& out = plan_.buffers.back();
      const int64_t bytes = layer.op == LayerOp::maxPool ? out.h * out.w * out.c : out.c * static_cast<int64_t>(sizeof(int32_t));
      step.argmax = plan_.argmaxBytesPerImage;
      plan_.argmaxBytesPerImage += (bytes + 63) / 64 * 64;
    }
  }

  const PlanStep& producer(int value) const { return plan_.steps[static_cast<size_t>(value) - 1]; }
  bool needsGradient(int value) const { return value > 0 && producer(value).backward; }

  // The zero border a gradient needs: that of the convolution that will read it as dy, also through additions that share it.
  int64_t gradientBorder(int value) const {
    if (!needsGradient(value)) return 0;
    const PlanStep& step = producer(value);
    if (step.layer.op == LayerOp::conv) return needsGradient(step.in[0]) ? step.conv.kernel - 1 - step.conv.pad : 0;
    if (step.layer.op == LayerOp::add) return std::max(gradientBorder(step.in[0]), gradientBorder(step.in[1]));
    return 0;
  }

  // A convolution output that only feeds a norm is dead once the norm's backward has read it: its gradient overwrites it.
  bool reusesActivation(const PlanStep& norm) const {
    return norm.layer.op == LayerOp::batchNorm && norm.in[0] > 0 && producer(norm.in[0]).layer.op == LayerOp::conv &&
           consumers_[static_cast<size_t>(norm.in[0])].size() == 1;
  }

  void setBorders() {
    for (const PlanStep& step : plan_.steps) {
      int64_t& border = plan_.buffers[static_cast<size_t>(step.in[0])].border;
      if (step.layer.op == LayerOp::conv) border = std::max(border, step.conv.pad);
      if (reusesActivation(step)) border = std::max(border, gradientBorder(step.in[0]));
    }
  }

  int takeBuffer(int value) {
    PlanBuffer wanted = plan_.buffers[static_cast<size_t>(value)];
    wanted.border = gradientBorder(value);
    for (size_t i = plan_.numActivations; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& buffer = plan_.buffers[i];
      if (references_[i] == 0 && buffer.h == wanted.h && buffer.w == wanted.w && buffer.c == wanted.c && buffer.border == wanted.border &&
          buffer.precision == wanted.precision) {
        references_[i] = 1;
        return static_cast<int>(i);
      }
    }
    plan_.buffers.push_back(wanted);
    references_.push_back(1);
    return static_cast<int>(plan_.buffers.size()) - 1;
  }

  void release(int buffer) {
    if (static_cast<size_t>(buffer) >= plan_.numActivations) --references_[static_cast<size_t>(buffer)];
  }

  // dy: the gradient that an addition hands to its inputs.
  void flowTo(PlanStep& step, int k, int dy, std::vector<int>& gradientOf) {
    int& existing = gradientOf[static_cast<size_t>(step.in[k])];
    const bool shares = step.layer.op == LayerOp::add;
    if (shares && existing < 0) {
      existing = dy;
      if (static_cast<size_t>(existing) >= plan_.numActivations) ++references_[static_cast<size_t>(existing)];
      return;
    }
    step.flow[k].write = reusesActivation(step) ? step.in[0] : takeBuffer(step.in[k]);
    step.flow[k].addTo = existing;
    if (existing >= 0) release(existing);
    existing = step.flow[k].write;
  }

  void planBackward() {
    references_.assign(plan_.buffers.size(), 1);
    std::vector<int> gradientOf(plan_.numActivations, -1);
    gradientOf.back() = takeBuffer(plan_.logits());
    for (size_t i = plan_.steps.size(); i-- > 0;) {
      PlanStep& step = plan_.steps[i];
      if (!step.backward) continue;
      step.gradient = gradientOf[static_cast<size_t>(step.out)];
      int dy = step.gradient;
      if (step.layer.op == LayerOp::add && step.relu) {
        if (references_[static_cast<size_t>(dy)] > 1) {
          release(dy);
          dy = takeBuffer(step.out);
        }
        step.masked = dy;
      }
      for (int k = 0; k < 2; ++k) {
        // a norm's backward always writes its input gradient, also where nobody needs it
        if (step.in[k] >= 0 && (needsGradient(step.in[k]) || step.layer.op == LayerOp::batchNorm)) flowTo(step, k, dy, gradientOf);
      }
      release(dy);
    }
  }

  // Kernels on vectors take (n, c) arrays: no border may sit around them.
  Status checkVectors() const {
    for (const PlanStep& step : plan_.steps) {
      const bool vectorIn = step.layer.op == LayerOp::linear;
      const bool vectorOut = vectorIn || step.layer.op == LayerOp::globalMaxPool || step.layer.op == LayerOp::globalAveragePool;
      int64_t border = 0;
      if (vectorIn)
        border += plan_.buffers[static_cast<size_t>(step.in[0])].border +
                  (step.flow[0].write >= 0 ? plan_.buffers[static_cast<size_t>(step.flow[0].write)].border : 0);
      if (vectorOut)
        border += plan_.buffers[static_cast<size_t>(step.out)].border + (step.gradient >= 0 ? plan_.buffers[static_cast<size_t>(step.gradient)].border : 0);
      if (border != 0)
        return fault(static_cast<size_t>(step.out), "a vector cannot be shared with a padded convolution. Use a 1 x 1 kernel without padding there.");
    }
    return Status::success();
  }

  const NetSpec& net_;
  Precision precision_;
  std::vector<ValueShape> shapes_;
  NetPlan& plan_;
  std::vector<std::vector<int>> consumers_;  // values that read a value
  std::vector<int> references_;              // of each buffer, while planning the backward walk
};

}  // namespace

Status compileNet(const NetSpec& net, Precision precision, NetPlan& plan) {
  plan = NetPlan{};
  std::vector<ValueShape> shapes;
  const Status status = inferShapes(net, shapes);
  if (!status.ok()) return status;
  return Compiler(net, precision, std::move(shapes), plan).run();
}

}  // namespace lethe
