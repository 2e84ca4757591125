// A whole network in double precision, layer by layer as NetSpec lists them: no fusion, no buffers shared, one named tensor a parameter.
#pragma once
#include <map>
#include <string>

#include "lethe/train/net.h"
#include "reference/train/reference.h"

namespace lethe::reference {

using Parameters = std::map<std::string, Values>;  // by ParameterTensor::name

class NetReference {
 public:
  explicit NetReference(const NetSpec& net) : net_(net) {}

  // Logits (n, 1, 1, classes). trainBatchNorm: batch statistics, and the running ones in `parameters` move as PyTorch moves them.
  const Tensor& forward(const Tensor& images, bool trainBatchNorm, Parameters& parameters);

  // Gradients of every trainable parameter of the last forward; dLogits (n, classes).
  Parameters backward(const Values& dLogits, const Parameters& parameters);

 private:
  struct Norm {
    Values mean, inverseStd;
  };

  Tensor run(const LayerSpec& layer, Parameters& parameters);
  Tensor batchNorm(const LayerSpec& layer, const Tensor& x, Parameters& parameters);
  Tensor back(const LayerSpec& layer, const Tensor& x, const Tensor& dy, const Parameters& parameters, Parameters& gradient) const;

  NetSpec net_;
  bool train_ = false;
  std::map<std::string, Tensor> values_;  // "image" and every layer's output
  std::map<std::string, Norm> norms_;
  std::map<std::string, std::vector<int64_t>> argmax_;
};

}  // namespace lethe::reference
