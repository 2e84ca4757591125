// Networks as data on the native side: the same layers as src/types.ts, their shapes, and the layout of a model's flat parameter buffer.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lethe/base/status.h"

namespace lethe {

enum class LayerOp { conv, batchNorm, relu, add, maxPool, globalMaxPool, globalAveragePool, linear, scale };

// Only the fields of the layer's op are meaningful.
struct LayerSpec {
  std::string name;
  std::vector<std::string> inputs;  // names of earlier layers, or "image"
  LayerOp op = LayerOp::relu;
  int64_t outChannels = 0, kernel = 0;                       // conv
  int64_t stride = 1, pad = 0;                               // conv, maxPool
  float epsilon = 0, momentum = 0;                           // batchNorm
  int64_t size = 0;                                          // maxPool
  int64_t outFeatures = 0;                                   // linear
  bool bias = false;                                         // linear
  float factor = 1;                                          // scale
};

// Layers in topological order; the last one gives the logits.
struct NetSpec {
  std::string name;
  int64_t height = 0, width = 0, channels = 0, numClasses = 0;
  std::vector<LayerSpec> layers;
};

struct ValueShape {
  int64_t h = 0, w = 0, c = 0;
};

// One tensor inside the flat parameter buffer: trainable tensors first, in layer order, then running means and variances.
struct ParameterTensor {
  std::string name;            // "<layer>.weight", ".gamma", ".beta", ".bias", ".runningMean", ".runningVariance"
  std::vector<int64_t> shape;  // conv (kernel, kernel, in, out); linear (in, out); vectors (c)
  int64_t offset = 0, size = 0;
  bool trainable = true;
  int64_t fanIn = 0;  // of weights and biases, for the initialisation; 0 for BatchNorm
};

struct ParameterLayout {
  std::vector<ParameterTensor> tensors;
  int64_t numTrainable = 0, numParameters = 0;

  const ParameterTensor& find(const std::string& name) const;  // name must exist
};

// Output shape of every layer, in order. LETHE_NET_INVALID names the layer that does not fit.
Status inferShapes(const NetSpec& net, std::vector<ValueShape>& shapes);

// shapes from inferShapes.
ParameterLayout layoutParameters(const NetSpec& net, const std::vector<ValueShape>& shapes);

// Multiply-adds of convolutions and linear layers for one image, forward.
int64_t countMultiplyAdds(const NetSpec& net, const std::vector<ValueShape>& shapes);

// Position of a layer's input in the layer list; -1 is the image. The name must exist.
int64_t inputIndex(const NetSpec& net, const std::string& name);

// PyTorch's defaults: weights and biases uniform(-1/sqrt(fanIn), 1/sqrt(fanIn)), gamma 1, beta 0, running mean 0, variance 1.
// Keyed by (seed, model): parameters (numParameters).
void initialiseParameters(const ParameterLayout& layout, uint64_t seed, uint64_t model, float* parameters);

}  // namespace lethe
