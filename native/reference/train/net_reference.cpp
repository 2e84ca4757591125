#include "reference/train/net_reference.h"

#include <cmath>

namespace lethe::reference {

const Tensor& NetReference::forward(const Tensor& images, bool trainBatchNorm, Parameters& parameters) {
  train_ = trainBatchNorm;
  values_.clear();
  values_["image"] = images;
  for (const LayerSpec& layer : net_.layers) values_[layer.name] = run(layer, parameters);
  return values_[net_.layers.back().name];
}

Tensor NetReference::run(const LayerSpec& layer, Parameters& parameters) {
  const Tensor& x = values_.at(layer.inputs[0]);
  switch (layer.op) {
    case LayerOp::conv: return convForward({x.c, layer.outChannels, layer.kernel, layer.stride, layer.pad}, x, parameters.at(layer.name + ".weight"));
    case LayerOp::batchNorm: return batchNorm(layer, x, parameters);
    case LayerOp::relu: return relu(x);
    case LayerOp::add: return add(x, values_.at(layer.inputs[1]));
    case LayerOp::maxPool: return maxPool({layer.size, layer.stride, layer.pad}, x, argmax_[layer.name]);
    case LayerOp::globalMaxPool: return globalMaxPool(x, argmax_[layer.name]);
    case LayerOp::globalAveragePool: return globalAveragePool(x);
    case LayerOp::linear: {
      Tensor y(x.n, 1, 1, layer.outFeatures);
      y.data = linear(x.n, x.c, layer.outFeatures, x.data, parameters.at(layer.name + ".weight"), layer.bias ? parameters.at(layer.name + ".bias") : Values{});
      return y;
    }
    case LayerOp::scale: return affine(x, Values(static_cast<size_t>(x.c), layer.factor), Values(static_cast<size_t>(x.c), 0.0), false);
  }
  return x;
}

Tensor NetReference::batchNorm(const LayerSpec& layer, const Tensor& x, Parameters& parameters) {
  Values &runningMean = parameters.at(layer.name + ".runningMean"), &runningVariance = parameters.at(layer.name + ".runningVariance");
  Values mean = runningMean, variance = runningVariance;
  if (train_) batchNormStatistics(x, mean, variance);
  const double count = static_cast<double>(x.n * x.h * x.w);
  Values scale(mean.size()), shift(mean.size());
  Norm& norm = norms_[layer.name];
  norm = {mean, Values(mean.size())};
  for (size_t c = 0; c < mean.size(); ++c) {
    norm.inverseStd[c] = 1.0 / std::sqrt(variance[c] + layer.epsilon);
    scale[c] = parameters.at(layer.name + ".gamma")[c] * norm.inverseStd[c];
    shift[c] = parameters.at(layer.name + ".beta")[c] - mean[c] * scale[c];
    if (!train_) continue;
    runningMean[c] += layer.momentum * (mean[c] - runningMean[c]);
    runningVariance[c] += layer.momentum * (variance[c] * count / (count - 1) - runningVariance[c]);
  }
  return affine(x, scale, shift, false);
}

Parameters NetReference::backward(const Values& dLogits, const Parameters& parameters) {
  Parameters gradient;
  std::map<std::string, Tensor> gradients;
  for (const auto& [name, value] : values_) gradients[name] = Tensor(value.n, value.h, value.w, value.c);
  gradients[net_.layers.back().name].data = dLogits;
  for (size_t i = net_.layers.size(); i-- > 0;) {
    const LayerSpec& layer = net_.layers[i];
    for (const std::string& input : layer.inputs) {
      gradients[input] = add(gradients[input], back(layer, values_.at(input), gradients[layer.name], parameters, gradient));
    }
  }
  return gradient;
}

Tensor NetReference::back(const LayerSpec& layer, const Tensor& x, const Tensor& dy, const Parameters& parameters, Parameters& gradient) const {
  const std::string& name = layer.name;
  switch (layer.op) {
    case LayerOp::conv: {
      const ConvShape shape{x.c, layer.outChannels, layer.kernel, layer.stride, layer.pad};
      gradient[name + ".weight"] = convWeightGradient(shape, x, dy);
      return convInputGradient(shape, dy, parameters.at(name + ".weight"), x.h, x.w);
    }
    case LayerOp::batchNorm: {
      const Norm& norm = norms_.at(name);
      return batchNormBackward(x, dy, norm.mean, norm.inverseStd, parameters.at(name + ".gamma"), parameters.at(name + ".beta"), false, train_,
                               gradient[name + ".gamma"], gradient[name + ".beta"]);
    }
    case LayerOp::relu: return reluBackward(values_.at(name), dy);
    case LayerOp::add: return dy;
    case LayerOp::maxPool: return maxPoolBackward({layer.size, layer.stride, layer.pad}, dy, argmax_.at(name), x.h, x.w);
    case LayerOp::globalMaxPool: return globalMaxPoolBackward(dy, argmax_.at(name), x.h, x.w);
    case LayerOp::globalAveragePool: return globalAveragePoolBackward(dy, x.h, x.w);
    case LayerOp::linear: {
      Tensor dx(x.n, 1, 1, x.c);
      Values bias;
      linearBackward(x.n, x.c, layer.outFeatures, x.data, parameters.at(name + ".weight"), dy.data, gradient[name + ".weight"], bias, dx.data);
      if (layer.bias) gradient[name + ".bias"] = bias;
      return dx;
    }
    case LayerOp::scale: return affine(dy, Values(static_cast<size_t>(dy.c), layer.factor), Values(static_cast<size_t>(dy.c), 0.0), false);
  }
  return dy;
}

}  // namespace lethe::reference
