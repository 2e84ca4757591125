#include "net_spec.h"

#include <map>

namespace lethe::addon {

static LayerOp layerOp(const Napi::Object& layer) {
  static const std::map<std::string, LayerOp> ops{
      {"conv", LayerOp::conv}, {"batchNorm", LayerOp::batchNorm}, {"relu", LayerOp::relu}, {"add", LayerOp::add}, {"maxPool", LayerOp::maxPool},
      {"globalMaxPool", LayerOp::globalMaxPool}, {"globalAveragePool", LayerOp::globalAveragePool}, {"linear", LayerOp::linear}, {"scale", LayerOp::scale}};
  const std::string name = stringProperty(layer, "op");
  const auto found = ops.find(name);
  if (found != ops.end()) return found->second;
  std::string known;
  for (const auto& op : ops) known += (known.empty() ? "" : ", ") + op.first;
  throw toError(layer.Env(), Status::error("LETHE_NET_INVALID", "layer \"" + stringProperty(layer, "name") + "\": expected an op of " + known +
                                                                    "; received \"" + name + "\"."));
}

static LayerSpec layerSpec(const Napi::Object& from) {
  LayerSpec layer;
  layer.op = layerOp(from);
  layer.name = stringProperty(from, "name");
  const Napi::Array inputs = property(from, "inputs").As<Napi::Array>();
  for (uint32_t i = 0; i < inputs.Length(); ++i) layer.inputs.push_back(inputs.Get(i).ToString());
  if (layer.op == LayerOp::conv) {
    layer.outChannels = countProperty(from, "outChannels");
    layer.kernel = countProperty(from, "kernel");
    layer.stride = countProperty(from, "stride");
    layer.pad = countProperty(from, "pad");
  } else if (layer.op == LayerOp::batchNorm) {
    layer.epsilon = static_cast<float>(numberProperty(from, "epsilon"));
    layer.momentum = static_cast<float>(numberProperty(from, "momentum"));
  } else if (layer.op == LayerOp::maxPool) {
    layer.size = countProperty(from, "size");
    layer.stride = property(from, "stride").IsUndefined() ? layer.size : countProperty(from, "stride");
    layer.pad = property(from, "pad").IsUndefined() ? 0 : countProperty(from, "pad");
  } else if (layer.op == LayerOp::linear) {
    layer.outFeatures = countProperty(from, "outFeatures");
    layer.bias = booleanProperty(from, "bias");
  } else if (layer.op == LayerOp::scale) {
    layer.factor = static_cast<float>(numberProperty(from, "factor"));
  }
  return layer;
}

NetSpec netSpec(const Napi::Value& value) {
  const Napi::Object from = value.As<Napi::Object>(), input = property(from, "input").As<Napi::Object>();
  NetSpec net;
  net.name = stringProperty(from, "name");
  net.height = countProperty(input, "height");
  net.width = countProperty(input, "width");
  net.channels = countProperty(input, "channels");
  net.numClasses = countProperty(from, "numClasses");
  const Napi::Array layers = property(from, "layers").As<Napi::Array>();
  for (uint32_t i = 0; i < layers.Length(); ++i) net.layers.push_back(layerSpec(layers.Get(i).As<Napi::Object>()));
  return net;
}

Precision precisionOf(const std::string& name) { return name == "bf16" ? Precision::bf16 : Precision::fp32; }

Napi::Array parameterTensors(Napi::Env env, const ParameterLayout& layout) {
  Napi::Array tensors = Napi::Array::New(env);
  for (const ParameterTensor& from : layout.tensors) {
    Napi::Object tensor = Napi::Object::New(env);
    Napi::Array shape = Napi::Array::New(env);
    for (int64_t side : from.shape) shape.Set(shape.Length(), static_cast<double>(side));
    tensor.Set("name", from.name);
    tensor.Set("shape", shape);
    tensor.Set("offset", static_cast<double>(from.offset));
    tensor.Set("size", static_cast<double>(from.size));
    tensor.Set("trainable", from.trainable);
    tensors.Set(tensors.Length(), tensor);
  }
  return tensors;
}

}  // namespace lethe::addon
