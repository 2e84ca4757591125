#include "addon/net_spec.h"

#include "addon/arguments.h"

namespace lethe::addon {

static LayerOp layerOp(const Napi::Object& layer) {
  return meaningOf<LayerOp>(property(layer, "op"), "op",
                            {{"conv", LayerOp::conv},
                             {"batchNorm", LayerOp::batchNorm},
                             {"relu", LayerOp::relu},
                             {"add", LayerOp::add},
                             {"maxPool", LayerOp::maxPool},
                             {"globalMaxPool", LayerOp::globalMaxPool},
                             {"globalAveragePool", LayerOp::globalAveragePool},
                             {"linear", LayerOp::linear},
                             {"scale", LayerOp::scale}});
}

static LayerSpec layerSpec(const Napi::Object& from) {
  LayerSpec layer;
  layer.op = layerOp(from);
  layer.name = stringProperty(from, "name");
  for (const Napi::Value& input : listProperty(from, "inputs")) layer.inputs.push_back(textOf(input, "inputs"));
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
    layer.stride = has(from, "stride") ? countProperty(from, "stride") : layer.size;
    layer.pad = has(from, "pad") ? countProperty(from, "pad") : 0;
  } else if (layer.op == LayerOp::linear) {
    layer.outFeatures = countProperty(from, "outFeatures");
    layer.bias = booleanProperty(from, "bias");
  } else if (layer.op == LayerOp::scale) {
    layer.factor = static_cast<float>(numberProperty(from, "factor"));
  }
  return layer;
}

NetSpec netSpec(const Napi::Value& value) {
  const Napi::Object from = objectOf(value, "net"), input = objectProperty(from, "input");
  NetSpec net;
  net.name = stringProperty(from, "name");
  net.height = countProperty(input, "height");
  net.width = countProperty(input, "width");
  net.channels = countProperty(input, "channels");
  net.numClasses = countProperty(from, "numClasses");
  for (const Napi::Object& layer : objectsProperty(from, "layers")) net.layers.push_back(layerSpec(layer));
  return net;
}

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
