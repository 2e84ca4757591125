// The reference gradients against central differences of the reference forward ops, so that the yardstick itself is checked.
#include <functional>

#include "train/train_fixture.h"

using namespace lethe;
using namespace lethe::test;

namespace {

std::mt19937 randomness(11);

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t k = 0; k < a.size(); ++k) sum += a[k] * b[k];
  return sum;
}

// Compares gradient with central differences of value() in every entry of variable (a sample of the long ones).
void checkGradient(Values& variable, const Values& gradient, const std::function<double()>& value, const std::string& what) {
  const double step = 1e-5;
  double worst = 0, top = 1e-12;
  const size_t stride = variable.size() / 60 + 1;
  for (size_t k = 0; k < variable.size(); k += stride) {
    const double kept = variable[k];
    variable[k] = kept + step;
    const double up = value();
    variable[k] = kept - step;
    const double down = value();
    variable[k] = kept;
    worst = std::max(worst, std::fabs((up - down) / (2 * step) - gradient[k]));
    top = std::max(top, std::fabs(gradient[k]));
  }
  expect(gradient.size() == variable.size() && worst < 1e-6 * top, what + ": error " + std::to_string(worst / top));
}

void convolution(const ConvShape& s, int64_t h, int64_t w) {
  const std::string name = "conv kernel " + std::to_string(s.kernel) + " stride " + std::to_string(s.stride) + " pad " + std::to_string(s.pad);
  Tensor x = randomTensor(randomness, 2, h, w, s.inChannels);
  Values weight = randomValues(randomness, s.kernel * s.kernel * s.inChannels * s.outChannels);
  Tensor dy = reference::convForward(s, x, weight);
  dy.data = randomValues(randomness, static_cast<int64_t>(dy.data.size()));
  const auto value = [&] { return dot(reference::convForward(s, x, weight).data, dy.data); };
  checkGradient(x.data, reference::convInputGradient(s, dy, weight, h, w).data, value, name + " input");
  checkGradient(weight, reference::convWeightGradient(s, x, dy), value, name + " weight");
}

void batchNorm(bool relu, bool batch) {
  const std::string name = std::string("batchNorm") + (relu ? " relu" : "") + (batch ? " batch" : " eval");
  const int64_t channels = 3;
  Tensor x = randomTensor(randomness, 2, 3, 4, channels, 0.5), dy = randomTensor(randomness, 2, 3, 4, channels);
  Values gamma = randomValues(randomness, channels), beta = randomValues(randomness, channels);
  Values mean = randomValues(randomness, channels), inverse = absolute(randomValues(randomness, channels, 1, 0.1));
  const auto statistics = [&] {
    Values variance;
    reference::batchNormStatistics(x, mean, variance);
    for (size_t c = 0; c < inverse.size(); ++c) inverse[c] = 1 / std::sqrt(variance[c] + 1e-5);
  };
  const auto value = [&] {
    if (batch) statistics();
    Values scale, shift;
    for (size_t c = 0; c < gamma.size(); ++c) {
      scale.push_back(gamma[c] * inverse[c]);
      shift.push_back(beta[c] - gamma[c] * inverse[c] * mean[c]);
    }
    return dot(reference::affine(x, scale, shift, relu).data, dy.data);
  };
  value();
  Values dGamma, dBeta;
  const Tensor dx = reference::batchNormBackward(x, dy, mean, inverse, gamma, beta, relu, batch, dGamma, dBeta);
  checkGradient(x.data, dx.data, value, name + " x");
  checkGradient(gamma, dGamma, value, name + " gamma");
  checkGradient(beta, dBeta, value, name + " beta");
}

void pools() {
  Tensor x = randomTensor(randomness, 2, 4, 6, 3), dy = randomTensor(randomness, 2, 2, 3, 3), dg = randomTensor(randomness, 2, 1, 1, 3);
  std::vector<int64_t> argmax, global, ignored;
  for (const PoolShape& shape : {PoolShape{2, 2, 0}, PoolShape{3, 2, 1}}) {
    reference::maxPool(shape, x, argmax);
    checkGradient(
        x.data, reference::maxPoolBackward(shape, dy, argmax, 4, 6).data, [&] { return dot(reference::maxPool(shape, x, ignored).data, dy.data); },
        "maxPool " + std::to_string(shape.size));
  }
  reference::globalMaxPool(x, global);
  checkGradient(
      x.data, reference::globalMaxPoolBackward(dg, global, 4, 6).data, [&] { return dot(reference::globalMaxPool(x, ignored).data, dg.data); },
      "globalMaxPool");
  checkGradient(
      x.data, reference::globalAveragePoolBackward(dg, 4, 6).data, [&] { return dot(reference::globalAveragePool(x).data, dg.data); }, "globalAveragePool");
  Tensor same = randomTensor(randomness, 2, 4, 6, 3);
  checkGradient(x.data, reference::reluBackward(reference::relu(x), same).data, [&] { return dot(reference::relu(x).data, same.data); }, "relu");
}

void linearLayer() {
  Values x = randomValues(randomness, 3 * 5), weight = randomValues(randomness, 5 * 4), bias = randomValues(randomness, 4), dWeight, dBias, dx;
  const Values dy = randomValues(randomness, 3 * 4);
  reference::linearBackward(3, 5, 4, x, weight, dy, dWeight, dBias, dx);
  const auto value = [&] { return dot(reference::linear(3, 5, 4, x, weight, bias), dy); };
  checkGradient(x, dx, value, "linear x");
  checkGradient(weight, dWeight, value, "linear weight");
  checkGradient(bias, dBias, value, "linear bias");
}

void losses(const LossWeights& weights, const std::string& name) {
  Values logits = randomValues(randomness, 4 * 5, 0, 2), gradient, ignored;
  const Values targets = randomValues(randomness, 4 * 5, 0, 2);
  const std::vector<int32_t> labels{0, 3, 4, 1};
  reference::loss(weights, 0.5, 4, 5, logits, labels, targets, gradient);
  checkGradient(logits, gradient, [&] { return reference::loss(weights, 0.5, 4, 5, logits, labels, targets, ignored); }, "loss " + name);
}

}  // namespace

int main() {
  for (int64_t kernel : {1, 3, 5})
    for (int64_t stride : {1, 2})
      for (int64_t pad : {0, 1, 2}) convolution({3, 2, kernel, stride, pad}, 6, 7);
  convolution({3, 2, 7, 2, 3}, 9, 8);
  for (bool relu : {false, true})
    for (bool batch : {false, true}) batchNorm(relu, batch);
  pools();
  linearLayer();
  losses({1, 0, 0, 0, 1}, "cross-entropy");
  losses({1, 0.1f, 0, 0, 1}, "label smoothing");
  losses({-1, 0, 0, 0, 1}, "gradient ascent");
  losses({0, 0, 1, 0, 1}, "match logits");
  losses({0, 0, 0, 1, 4}, "distillation");
  losses({0, 0, 0, -1, 2}, "negative distillation");
  losses({1, 0.05f, -2, 0.5f, 3}, "mixture");
  return finish();
}
