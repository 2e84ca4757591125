#include "lethe/train/net.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "lethe/base/random.h"

namespace lethe {

namespace {

// Far beyond any real network, and small enough that no product of sizes leaves 64 bits.
constexpr int64_t kMaxSide = 1 << 16, kMaxKernel = 1 << 10, kMaxValues = int64_t{1} << 31;

Status invalid(const NetSpec& net, const LayerSpec& layer, const std::string& text) {
  return Status::error("LETHE_NET_INVALID", "layer \"" + layer.name + "\" of network \"" + net.name + "\": " + text);
}

std::string text(const ValueShape& shape) { return std::to_string(shape.h) + " x " + std::to_string(shape.w) + " x " + std::to_string(shape.c); }

Status convShape(const NetSpec& net, const LayerSpec& layer, const ValueShape& in, ValueShape& out) {
  if (layer.kernel < 1 || layer.kernel > kMaxKernel || layer.stride < 1 || layer.pad < 0 || layer.pad >= layer.kernel) {
    return invalid(net, layer, "expected a kernel of 1..1024, stride >= 1 and 0 <= pad < kernel.");
  }
  const int64_t height = in.h + 2 * layer.pad - layer.kernel, width = in.w + 2 * layer.pad - layer.kernel;
  if (height < 0 || width < 0) {
    return invalid(net, layer,
                   "a " + std::to_string(layer.kernel) + " x " + std::to_string(layer.kernel) + " kernel with pad " + std::to_string(layer.pad) +
                       " does not fit into its input " + text(in) + ". Use larger images or fewer layers.");
  }
  out = {height / layer.stride + 1, width / layer.stride + 1, layer.outChannels};
  return Status::success();
}

Status poolShape(const NetSpec& net, const LayerSpec& layer, const ValueShape& in, ValueShape& out) {
  if (layer.size < 1 || layer.size > 16) return invalid(net, layer, "expected a pool size of 1..16; received " + std::to_string(layer.size) + ".");
  if (layer.stride < 1 || layer.stride > layer.size || layer.pad < 0 || 2 * layer.pad > layer.size) {
    return invalid(net, layer,
                   "expected a stride from 1 to the size " + std::to_string(layer.size) + " and a pad from 0 to half of it; received stride " +
                       std::to_string(layer.stride) + " and pad " + std::to_string(layer.pad) + ".");
  }
  const int64_t height = in.h + 2 * layer.pad - layer.size, width = in.w + 2 * layer.pad - layer.size;
  if (height < 0 || width < 0) {
    return invalid(net, layer,
                   "a window of " + std::to_string(layer.size) + " x " + std::to_string(layer.size) + " with pad " + std::to_string(layer.pad) +
                       " does not fit into its input " + text(in) + ". Use larger images or fewer layers.");
  }
  if (std::max(height % layer.stride, width % layer.stride) > layer.pad) {
    return invalid(net, layer,
                   "expected windows that reach every pixel; received " + text(in) + ", of which size " + std::to_string(layer.size) + ", stride " +
                       std::to_string(layer.stride) + " and pad " + std::to_string(layer.pad) + " leave the last ones out. Use images of another size.");
  }
  out = {height / layer.stride + 1, width / layer.stride + 1, in.c};
  return Status::success();
}

Status outputShape(const NetSpec& net, const LayerSpec& layer, const std::vector<ValueShape>& in, ValueShape& out) {
  out = in[0];
  switch (layer.op) {
    case LayerOp::conv: return convShape(net, layer, in[0], out);
    case LayerOp::maxPool: return poolShape(net, layer, in[0], out);
    case LayerOp::globalMaxPool:
    case LayerOp::globalAveragePool: out = {1, 1, in[0].c}; break;
    case LayerOp::linear:
      if (in[0].h != 1 || in[0].w != 1) return invalid(net, layer, "expected a 1 x 1 input (add a global pool before it); received " + text(in[0]) + ".");
      out = {1, 1, layer.outFeatures};
      break;
    case LayerOp::add:
      if (in[0].h != in[1].h || in[0].w != in[1].w || in[0].c != in[1].c) {
        return invalid(net, layer, "expected two inputs of one shape; received " + text(in[0]) + " and " + text(in[1]) + ".");
      }
      break;
    case LayerOp::batchNorm:
      if (!(layer.epsilon > 0) || !(layer.momentum >= 0) || !(layer.momentum <= 1)) {
        return invalid(net, layer, "expected epsilon > 0 and momentum in 0..1.");
      }
      break;
    case LayerOp::relu:
    case LayerOp::scale: break;
  }
  return Status::success();
}

Status gatherInputs(const NetSpec& net, const LayerSpec& layer, const std::vector<ValueShape>& shapes, std::vector<ValueShape>& in) {
  const size_t wanted = layer.op == LayerOp::add ? 2 : 1;
  if (layer.inputs.size() != wanted) {
    return invalid(net, layer, "expected " + std::to_string(wanted) + " input(s); received " + std::to_string(layer.inputs.size()) + ".");
  }
  for (const std::string& name : layer.inputs) {
    const int64_t index = inputIndex(net, name);
    if (name != "image" && (index < 0 || index >= static_cast<int64_t>(shapes.size()))) {
      return invalid(net, layer, "expected the name of an earlier layer or \"image\" as input; received \"" + name + "\".");
    }
    in.push_back(index < 0 ? ValueShape{net.height, net.width, net.channels} : shapes[static_cast<size_t>(index)]);
  }
  return Status::success();
}

void addTensor(ParameterLayout& layout, const std::string& name, std::vector<int64_t> shape, bool trainable, int64_t fanIn) {
  int64_t size = 1;
  for (int64_t side : shape) size *= side;
  layout.tensors.push_back({name, std::move(shape), layout.numParameters, size, trainable, fanIn});
  layout.numParameters += size;
}

}  // namespace

int64_t inputIndex(const NetSpec& net, const std::string& name) {
  for (size_t i = 0; i < net.layers.size(); ++i) {
    if (net.layers[i].name == name) return static_cast<int64_t>(i);
  }
  return -1;
}

Status inferShapes(const NetSpec& net, std::vector<ValueShape>& shapes) {
  shapes.clear();
  const auto side = [](int64_t size) { return size >= 1 && size <= kMaxSide; };
  if (!side(net.height) || !side(net.width) || !side(net.channels) || !side(net.numClasses) || net.layers.empty()) {
    return Status::error("LETHE_NET_INVALID",
                         "network \"" + net.name + "\": expected input sides, channels and numClasses in 1..65536 and at least one layer.");
  }
  std::set<std::string> names{"image"};
  for (const LayerSpec& layer : net.layers) {
    if (!names.insert(layer.name).second) return invalid(net, layer, "its name is used twice (\"image\" is the input).");
    std::vector<ValueShape> in;
    ValueShape out;
    Status status = gatherInputs(net, layer, shapes, in);
    if (status.ok()) status = outputShape(net, layer, in, out);
    if (status.ok() && (out.c < 1 || out.c > kMaxSide || out.h * out.w * out.c > kMaxValues)) {
      status = invalid(net, layer, "expected 1..65536 channels and at most 2^31 values an image; received " + text(out) + ".");
    }
    if (!status.ok()) return status;
    shapes.push_back(out);
  }
  const ValueShape last = shapes.back();
  if (last.h != 1 || last.w != 1 || last.c != net.numClasses) {
    return invalid(net, net.layers.back(), "expected logits 1 x 1 x " + std::to_string(net.numClasses) + " from the last layer; received " + text(last) + ".");
  }
  return Status::success();
}

ParameterLayout layoutParameters(const NetSpec& net, const std::vector<ValueShape>& shapes) {
  ParameterLayout layout;
  for (size_t i = 0; i < net.layers.size(); ++i) {
    const LayerSpec& layer = net.layers[i];
    const int64_t from = inputIndex(net, layer.inputs[0]);
    const int64_t in = from < 0 ? net.channels : shapes[static_cast<size_t>(from)].c, out = shapes[i].c;
    if (layer.op == LayerOp::conv) {
      addTensor(layout, layer.name + ".weight", {layer.kernel, layer.kernel, in, out}, true, layer.kernel * layer.kernel * in);
    } else if (layer.op == LayerOp::linear) {
      addTensor(layout, layer.name + ".weight", {in, out}, true, in);
      if (layer.bias) addTensor(layout, layer.name + ".bias", {out}, true, in);
    } else if (layer.op == LayerOp::batchNorm) {
      addTensor(layout, layer.name + ".gamma", {out}, true, 0);
      addTensor(layout, layer.name + ".beta", {out}, true, 0);
    }
  }
  layout.numTrainable = layout.numParameters;
  for (size_t i = 0; i < net.layers.size(); ++i) {
    if (net.layers[i].op != LayerOp::batchNorm) continue;
    addTensor(layout, net.layers[i].name + ".runningMean", {shapes[i].c}, false, 0);
    addTensor(layout, net.layers[i].name + ".runningVariance", {shapes[i].c}, false, 0);
  }
  return layout;
}

const ParameterTensor& ParameterLayout::find(const std::string& name) const {
  size_t i = 0;
  while (tensors[i].name != name) ++i;
  return tensors[i];
}

int64_t countMultiplyAdds(const NetSpec& net, const std::vector<ValueShape>& shapes) {
  int64_t total = 0;
  for (size_t i = 0; i < net.layers.size(); ++i) {
    const LayerSpec& layer = net.layers[i];
    const int64_t from = inputIndex(net, layer.inputs[0]);
    const int64_t in = from < 0 ? net.channels : shapes[static_cast<size_t>(from)].c;
    const ValueShape& out = shapes[i];
    if (layer.op == LayerOp::conv) total += out.h * out.w * layer.kernel * layer.kernel * in * out.c;
    if (layer.op == LayerOp::linear) total += in * out.c;
  }
  return total;
}

void initialiseParameters(const ParameterLayout& layout, uint64_t seed, uint64_t model, float* parameters) {
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    const ParameterTensor& tensor = layout.tensors[i];
    float* values = parameters + tensor.offset;
    if (tensor.fanIn == 0) {
      const bool one = tensor.name.ends_with(".gamma") || tensor.name.ends_with(".runningVariance");
      for (int64_t k = 0; k < tensor.size; ++k) values[k] = one ? 1.0f : 0.0f;
      continue;
    }
    Random random(seed, Purpose::initialise, model, static_cast<uint32_t>(i));
    const double bound = 1.0 / std::sqrt(static_cast<double>(tensor.fanIn));
    for (int64_t k = 0; k < tensor.size; ++k) values[k] = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
  }
}

}  // namespace lethe
