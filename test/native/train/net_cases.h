// Networks that contain every op and every way in which values are shared, with data and a model to run them on.
#pragma once
#include <random>

#include "base/check.h"
#include "core/train/net_plan.h"
#include "reference/train/net_reference.h"

namespace lethe::test {

using reference::Parameters;
using reference::Tensor;
using reference::Values;

inline LayerSpec layer(LayerOp op, const char* name, std::vector<std::string> inputs) {
  LayerSpec spec;
  spec.op = op;
  spec.name = name;
  spec.inputs = std::move(inputs);
  spec.epsilon = 1e-5f;
  spec.momentum = 0.1f;
  return spec;
}

inline LayerSpec conv(const char* name, const char* input, int64_t channels, int64_t kernel, int64_t stride, int64_t pad) {
  LayerSpec spec = layer(LayerOp::conv, name, {input});
  spec.outChannels = channels;
  spec.kernel = kernel;
  spec.stride = stride;
  spec.pad = pad;
  return spec;
}

inline LayerSpec head(const char* name, const char* input, bool bias) {
  LayerSpec spec = layer(LayerOp::linear, name, {input});
  spec.outFeatures = 3;
  spec.bias = bias;
  return spec;
}

inline LayerSpec pool(const char* name, const char* input, int64_t size, int64_t stride, int64_t pad) {
  LayerSpec spec = layer(LayerOp::maxPool, name, {input});
  spec.size = size;
  spec.stride = stride;
  spec.pad = pad;
  return spec;
}

// The shape of ResNet-9: fused norms, a 5 x 5 convolution of stride 2, a residual block, global maximum, scale.
inline NetSpec residualNet() {
  NetSpec net{"residual", 12, 10, 3, 3, {}};
  LayerSpec scale = layer(LayerOp::scale, "logits", {"head"});
  scale.factor = 0.2f;
  net.layers = {conv("c1", "image", 5, 3, 1, 1),
                layer(LayerOp::batchNorm, "n1", {"c1"}),
                layer(LayerOp::relu, "r1", {"n1"}),
                conv("c2", "r1", 6, 5, 2, 2),
                layer(LayerOp::batchNorm, "n2", {"c2"}),
                layer(LayerOp::relu, "r2", {"n2"}),
                conv("c3", "r2", 6, 3, 1, 1),
                layer(LayerOp::batchNorm, "n3", {"c3"}),
                layer(LayerOp::relu, "r3", {"n3"}),
                layer(LayerOp::add, "sum", {"r2", "r3"}),
                conv("c4", "sum", 4, 3, 1, 0),
                layer(LayerOp::batchNorm, "n4", {"c4"}),
                layer(LayerOp::relu, "r4", {"n4"}),
                layer(LayerOp::globalMaxPool, "pool", {"r4"}),
                head("head", "pool", false),
                scale};
  return net;
}

// What ResNet-9 has not: a norm on the image and one without ReLU, ReLU after a sum, a strided shortcut, max-pool, a value read three
// times, a value added to itself, convolutions without norms that share their gradient, global average, bias.
inline NetSpec tangledNet() {
  NetSpec net{"tangled", 8, 8, 2, 3, {}};
  net.layers = {layer(LayerOp::batchNorm, "n0", {"image"}),
                conv("c1", "n0", 4, 3, 1, 1),
                conv("c2", "image", 4, 1, 1, 0),
                layer(LayerOp::add, "s1", {"c1", "c2"}),
                layer(LayerOp::relu, "r1", {"s1"}),
                pool("p1", "r1", 2, 2, 0),
                conv("c3", "p1", 4, 3, 1, 1),
                layer(LayerOp::batchNorm, "n3", {"c3"}),
                layer(LayerOp::add, "s2", {"n3", "p1"}),
                layer(LayerOp::add, "s3", {"s2", "s2"}),
                layer(LayerOp::relu, "r3", {"s3"}),
                conv("c4", "r3", 6, 3, 2, 1),
                layer(LayerOp::batchNorm, "n4", {"c4"}),
                layer(LayerOp::relu, "r4", {"n4"}),
                conv("c5", "p1", 6, 1, 2, 0),
                layer(LayerOp::add, "s4", {"r4", "c5"}),
                layer(LayerOp::globalAveragePool, "pool", {"s4"}),
                head("logits", "pool", true)};
  return net;
}

// The shape of ResNet-18 on an odd size: 7 x 7 stem of stride 2, overlapping pool, ReLU after the sums, a projected shortcut. The last
// sum makes the second block share its gradient with an earlier layer.
inline NetSpec basicBlockNet() {
  NetSpec net{"basic blocks", 19, 14, 3, 3, {}};
  net.layers = {conv("c0", "image", 4, 7, 2, 3),
                layer(LayerOp::batchNorm, "n0", {"c0"}),
                layer(LayerOp::relu, "r0", {"n0"}),
                pool("p0", "r0", 3, 2, 1),
                conv("c1", "p0", 4, 3, 1, 1),
                layer(LayerOp::batchNorm, "n1", {"c1"}),
                layer(LayerOp::relu, "r1", {"n1"}),
                conv("c2", "r1", 4, 3, 1, 1),
                layer(LayerOp::batchNorm, "n2", {"c2"}),
                layer(LayerOp::add, "s2", {"n2", "p0"}),
                layer(LayerOp::relu, "r2", {"s2"}),
                conv("c6", "r2", 6, 3, 2, 1),
                conv("c3", "r2", 6, 3, 2, 1),
                layer(LayerOp::batchNorm, "n3", {"c3"}),
                layer(LayerOp::relu, "r3", {"n3"}),
                conv("c4", "r3", 6, 3, 1, 1),
                layer(LayerOp::batchNorm, "n4", {"c4"}),
                conv("c5", "r2", 6, 1, 2, 0),
                layer(LayerOp::batchNorm, "n5", {"c5"}),
                layer(LayerOp::add, "s5", {"n4", "n5"}),
                layer(LayerOp::relu, "r5", {"s5"}),
                layer(LayerOp::add, "s6", {"r5", "c6"}),
                layer(LayerOp::globalAveragePool, "pool", {"s6"}),
                head("logits", "pool", true)};
  return net;
}

// Images of one pixel beside a pooled vector: in bf16, images that meet fp32 values.
inline NetSpec vectorNet() {
  NetSpec net{"vectors", 6, 6, 3, 3, {}};
  net.layers = {conv("c1", "image", 5, 3, 1, 0),
                layer(LayerOp::relu, "r1", {"c1"}),
                layer(LayerOp::globalAveragePool, "pool", {"r1"}),
                head("head", "pool", true),
                conv("c2", "r1", 3, 4, 1, 0),
                layer(LayerOp::batchNorm, "n2", {"c2"}),
                conv("c3", "r1", 4, 4, 1, 0),
                layer(LayerOp::batchNorm, "n3", {"c3"}),
                layer(LayerOp::relu, "r3", {"n3"}),
                head("direct", "r3", false),
                layer(LayerOp::add, "sum", {"n2", "head"}),
                layer(LayerOp::add, "logits", {"sum", "direct"})};
  return net;
}

struct Objective {
  const char* name;
  LossWeights weights;
};

inline std::vector<Objective> objectives() {
  return {
      {"cross-entropy", {1, 0, 0, 0, 1}}, {"label smoothing", {1, 0.1f, 0, 0, 1}}, {"gradient ascent", {-1, 0, 0, 0, 1}},   {"match logits", {0, 0, 1, 0, 1}},
      {"distill", {0, 0, 0, 1, 4}},       {"distill away", {0, 0, 0, -1, 4}},      {"mixed", {0.99f, 0.05f, 0.3f, 0.1f, 2}}};
}

inline Parameters named(const ParameterLayout& layout, const std::vector<float>& flat) {
  Parameters parameters;
  for (const ParameterTensor& tensor : layout.tensors)
    parameters[tensor.name] = Values(flat.begin() + tensor.offset, flat.begin() + tensor.offset + tensor.size);
  return parameters;
}

// A net, its data and a model that is not at its initial values, so that every gradient is alive.
struct Case {
  explicit Case(const NetSpec& spec) : net(spec) {
    expect(compileNet(net, Precision::fp32, plan).ok() && compileNet(net, Precision::bf16, bf16Plan).ok(), net.name + " compiles");
    std::mt19937 random(3);
    std::uniform_real_distribution<float> uniform(0.5f, 1.5f), signedUniform(-0.3f, 0.3f);
    for (int64_t i = 0; i < numPoints * net.height * net.width * net.channels; ++i) pixels.push_back(static_cast<uint8_t>(random() & 255));
    for (int64_t i = 0; i < numPoints; ++i) {
      labels.push_back(static_cast<int32_t>(i % net.numClasses));
      points.push_back(static_cast<int32_t>(i));
    }
    for (int64_t i = 0; i < numPoints * net.numClasses; ++i) targets.push_back(3 * signedUniform(random));
    flat.resize(static_cast<size_t>(plan.layout.numParameters));
    initialiseParameters(plan.layout, 5, 0, flat.data());
    for (const ParameterTensor& tensor : plan.layout.tensors) {
      if (tensor.fanIn != 0) continue;
      const bool around1 = tensor.name.ends_with("gamma") || tensor.name.ends_with("Variance");
      for (int64_t k = 0; k < tensor.size; ++k) flat[static_cast<size_t>(tensor.offset + k)] = around1 ? uniform(random) : signedUniform(random);
    }
  }

  Tensor images() const {
    return reference::gatherImages(pixels, points, Values(mean.begin(), mean.end()), Values(std.begin(), std.end()), net.height, net.width, net.channels);
  }
  double referenceLoss(const LossWeights& weights, double weight, bool train, Parameters parameters, Values& dLogits) const {
    reference::NetReference model(net);
    const Values logits = model.forward(images(), train, parameters).data;
    return reference::loss(weights, weight, numPoints, net.numClasses, logits, labels, Values(targets.begin(), targets.end()), dLogits);
  }

  NetSpec net;
  NetPlan plan, bf16Plan;
  int64_t numPoints = 7;
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels, points;
  std::vector<float> targets, flat, mean{0.5f, 0.45f, 0.4f}, std{0.25f, 0.2f, 0.3f};
};

}  // namespace lethe::test
