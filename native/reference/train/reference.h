// Naive double-precision twins of the training kernels, for tests and benches. Plain tensors without borders, no blocking, no tricks:
// every op is its definition written as loops, and every gradient its scatter form.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/train/kernels.h"

namespace lethe::reference {

struct Tensor {  // data: (n, h, w, c) row-major
  int64_t n = 0, h = 0, w = 0, c = 0;
  std::vector<double> data;

  Tensor() = default;
  Tensor(int64_t images, int64_t height, int64_t width, int64_t channels)
      : n(images), h(height), w(width), c(channels), data(static_cast<size_t>(images * height * width * channels)) {}
  double& at(int64_t i, int64_t y, int64_t x, int64_t k) { return data[static_cast<size_t>(((i * h + y) * w + x) * c + k)]; }
  double at(int64_t i, int64_t y, int64_t x, int64_t k) const { return data[static_cast<size_t>(((i * h + y) * w + x) * c + k)]; }
};
using Values = std::vector<double>;

Tensor convForward(const ConvShape& shape, const Tensor& x, const Values& weight);
// height, width: of the input.
Tensor convInputGradient(const ConvShape& shape, const Tensor& dy, const Values& weight, int64_t height, int64_t width);
Values convWeightGradient(const ConvShape& shape, const Tensor& x, const Tensor& dy);

void batchNormStatistics(const Tensor& x, Values& mean, Values& variance);
Tensor affine(const Tensor& x, const Values& scale, const Values& shift, bool relu);
Tensor batchNormBackward(const Tensor& x, const Tensor& dy, const Values& mean, const Values& inverseStd, const Values& gamma, const Values& beta, bool relu,
                         bool batchStatistics, Values& dGamma, Values& dBeta);

Tensor relu(const Tensor& x);
Tensor reluBackward(const Tensor& y, const Tensor& dy);
Tensor add(const Tensor& a, const Tensor& b);
// argmax: one index per output, as in the contract; height, width: of the input.
Tensor maxPool(const PoolShape& shape, const Tensor& x, std::vector<int64_t>& argmax);
Tensor maxPoolBackward(const PoolShape& shape, const Tensor& dy, const std::vector<int64_t>& argmax, int64_t height, int64_t width);
Tensor globalMaxPool(const Tensor& x, std::vector<int64_t>& argmax);
Tensor globalMaxPoolBackward(const Tensor& dy, const std::vector<int64_t>& argmax, int64_t height, int64_t width);
Tensor globalAveragePool(const Tensor& x);
Tensor globalAveragePoolBackward(const Tensor& dy, int64_t height, int64_t width);

Values linear(int64_t n, int64_t in, int64_t out, const Values& x, const Values& weight, const Values& bias);
void linearBackward(int64_t n, int64_t in, int64_t out, const Values& x, const Values& weight, const Values& dy, Values& dWeight, Values& dBias, Values& dx);

double loss(const LossWeights& weights, double weight, int64_t n, int64_t classes, const Values& logits, const std::vector<int32_t>& labels,
            const Values& targets, Values& dLogits);

void sgdStep(double learningRate, double momentum, double weightDecay, const Values& gradient, Values& velocity, Values& parameter);
void adamStep(int64_t step, double learningRate, double beta1, double beta2, double epsilon, double weightDecay, const Values& gradient, Values& first,
              Values& second, Values& parameter);

// placements: one an image, or empty.
Tensor gatherImages(const std::vector<uint8_t>& pixels, const std::vector<int32_t>& index, const Values& mean, const Values& std, int64_t height, int64_t width,
                    int64_t channels, const std::vector<ImagePlacement>& placements = {});

}  // namespace lethe::reference
