#include "reference/train/reference.h"

#include <cmath>

namespace lethe::reference {
namespace {

// Calls body(image, y, x, channel) for every element.
template <typename Body>
void each(const Tensor& t, Body body) {
  for (int64_t i = 0; i < t.n; ++i)
    for (int64_t y = 0; y < t.h; ++y)
      for (int64_t x = 0; x < t.w; ++x)
        for (int64_t c = 0; c < t.c; ++c) body(i, y, x, c);
}

// Calls body(output element..., input y, input x, input channel, weight index) for every multiplication of the convolution.
template <typename Body>
void eachProduct(const ConvShape& shape, const Tensor& y, int64_t height, int64_t width, Body body) {
  each(y, [&](int64_t i, int64_t oy, int64_t ox, int64_t co) {
    for (int64_t kh = 0; kh < shape.kernel; ++kh)
      for (int64_t kw = 0; kw < shape.kernel; ++kw) {
        const int64_t iy = oy * shape.stride + kh - shape.pad, ix = ox * shape.stride + kw - shape.pad;
        if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
        for (int64_t ci = 0; ci < shape.inChannels; ++ci) {
          const int64_t index = ((kh * shape.kernel + kw) * shape.inChannels + ci) * shape.outChannels + co;
          body(i, oy, ox, co, iy, ix, ci, static_cast<size_t>(index));
        }
      }
  });
}

Values logSoftmax(const double* z, int64_t classes, double temperature) {
  double top = z[0], sum = 0;
  for (int64_t c = 1; c < classes; ++c) top = std::max(top, z[c]);
  for (int64_t c = 0; c < classes; ++c) sum += std::exp((z[c] - top) / temperature);
  Values result;
  for (int64_t c = 0; c < classes; ++c) result.push_back((z[c] - top) / temperature - std::log(sum));
  return result;
}

}  // namespace

Tensor convForward(const ConvShape& shape, const Tensor& x, const Values& weight) {
  const int64_t shrink = 2 * shape.pad - shape.kernel;
  Tensor y(x.n, (x.h + shrink) / shape.stride + 1, (x.w + shrink) / shape.stride + 1, shape.outChannels);
  eachProduct(shape, y, x.h, x.w, [&](int64_t i, int64_t oy, int64_t ox, int64_t co, int64_t iy, int64_t ix, int64_t ci, size_t k) {
    y.at(i, oy, ox, co) += x.at(i, iy, ix, ci) * weight[k];
  });
  return y;
}

Tensor convInputGradient(const ConvShape& shape, const Tensor& dy, const Values& weight, int64_t height, int64_t width) {
  Tensor dx(dy.n, height, width, shape.inChannels);
  eachProduct(shape, dy, height, width, [&](int64_t i, int64_t oy, int64_t ox, int64_t co, int64_t iy, int64_t ix, int64_t ci, size_t k) {
    dx.at(i, iy, ix, ci) += dy.at(i, oy, ox, co) * weight[k];
  });
  return dx;
}

Values convWeightGradient(const ConvShape& shape, const Tensor& x, const Tensor& dy) {
  Values dWeight(static_cast<size_t>(shape.kernel * shape.kernel * shape.inChannels * shape.outChannels));
  eachProduct(shape, dy, x.h, x.w, [&](int64_t i, int64_t oy, int64_t ox, int64_t co, int64_t iy, int64_t ix, int64_t ci, size_t k) {
    dWeight[k] += x.at(i, iy, ix, ci) * dy.at(i, oy, ox, co);
  });
  return dWeight;
}

void batchNormStatistics(const Tensor& x, Values& mean, Values& variance) {
  const double count = static_cast<double>(x.n * x.h * x.w);
  mean.assign(static_cast<size_t>(x.c), 0);
  variance.assign(static_cast<size_t>(x.c), 0);
  each(x, [&](int64_t i, int64_t py, int64_t px, int64_t c) { mean[static_cast<size_t>(c)] += x.at(i, py, px, c) / count; });
  each(x, [&](int64_t i, int64_t py, int64_t px, int64_t c) {
    variance[static_cast<size_t>(c)] += std::pow(x.at(i, py, px, c) - mean[static_cast<size_t>(c)], 2) / count;
  });
}

Tensor affine(const Tensor& x, const Values& scale, const Values& shift, bool relu) {
  Tensor y = x;
  each(x, [&](int64_t i, int64_t py, int64_t px, int64_t c) {
    const double value = scale[static_cast<size_t>(c)] * x.at(i, py, px, c) + shift[static_cast<size_t>(c)];
    y.at(i, py, px, c) = relu && value < 0 ? 0 : value;
  });
  return y;
}

Tensor batchNormBackward(const Tensor& x, const Tensor& dy, const Values& mean, const Values& inverseStd, const Values& gamma, const Values& beta, bool relu,
                         bool batchStatistics, Values& dGamma, Values& dBeta) {
  const double count = static_cast<double>(x.n * x.h * x.w);
  dGamma.assign(static_cast<size_t>(x.c), 0);
  dBeta.assign(static_cast<size_t>(x.c), 0);
  Tensor normal = x, grad = dy, dx = x;
  each(x, [&](int64_t i, int64_t py, int64_t px, int64_t c) {
    const size_t k = static_cast<size_t>(c);
    const double value = (x.at(i, py, px, c) - mean[k]) * inverseStd[k];
    normal.at(i, py, px, c) = value;
    if (relu && gamma[k] * value + beta[k] <= 0) grad.at(i, py, px, c) = 0;
    dBeta[k] += grad.at(i, py, px, c);
    dGamma[k] += grad.at(i, py, px, c) * value;
  });
  each(x, [&](int64_t i, int64_t py, int64_t px, int64_t c) {
    const size_t k = static_cast<size_t>(c);
    double centred = grad.at(i, py, px, c);
    if (batchStatistics) centred -= dBeta[k] / count + normal.at(i, py, px, c) * dGamma[k] / count;
    dx.at(i, py, px, c) = gamma[k] * inverseStd[k] * centred;
  });
  return dx;
}

Tensor relu(const Tensor& x) {
  Tensor y = x;
  for (double& value : y.data) value = value < 0 ? 0 : value;
  return y;
}

Tensor reluBackward(const Tensor& y, const Tensor& dy) {
  Tensor dx = dy;
  for (size_t k = 0; k < dx.data.size(); ++k) dx.data[k] = y.data[k] <= 0 ? 0 : dy.data[k];
  return dx;
}

Tensor add(const Tensor& a, const Tensor& b) {
  Tensor y = a;
  for (size_t k = 0; k < y.data.size(); ++k) y.data[k] += b.data[k];
  return y;
}

static bool wins(double value, double best) { return value > best || (std::isnan(value) && !std::isnan(best)); }

Tensor maxPool(const PoolShape& shape, const Tensor& x, std::vector<int64_t>& argmax) {
  Tensor y(x.n, (x.h + 2 * shape.pad - shape.size) / shape.stride + 1, (x.w + 2 * shape.pad - shape.size) / shape.stride + 1, x.c);
  argmax.assign(y.data.size(), -1);
  size_t k = 0;
  each(y, [&](int64_t i, int64_t oy, int64_t ox, int64_t c) {
    for (int64_t p = 0; p < shape.size * shape.size; ++p) {
      const int64_t iy = oy * shape.stride - shape.pad + p / shape.size, ix = ox * shape.stride - shape.pad + p % shape.size;
      if (iy < 0 || iy >= x.h || ix < 0 || ix >= x.w) continue;
      if (argmax[k] < 0 || wins(x.at(i, iy, ix, c), y.data[k])) y.data[k] = x.at(i, iy, ix, c), argmax[k] = p;
    }
    ++k;
  });
  return y;
}

Tensor maxPoolBackward(const PoolShape& shape, const Tensor& dy, const std::vector<int64_t>& argmax, int64_t height, int64_t width) {
  Tensor dx(dy.n, height, width, dy.c);
  size_t k = 0;
  each(dy, [&](int64_t i, int64_t oy, int64_t ox, int64_t c) {
    dx.at(i, oy * shape.stride - shape.pad + argmax[k] / shape.size, ox * shape.stride - shape.pad + argmax[k] % shape.size, c) += dy.data[k];
    ++k;
  });
  return dx;
}

Tensor globalMaxPool(const Tensor& x, std::vector<int64_t>& argmax) {
  Tensor y(x.n, 1, 1, x.c);
  argmax.assign(y.data.size(), 0);
  each(x, [&](int64_t i, int64_t py, int64_t px, int64_t c) {
    const int64_t p = py * x.w + px;
    double& best = y.at(i, 0, 0, c);
    if (p == 0 || wins(x.at(i, py, px, c), best)) best = x.at(i, py, px, c), argmax[static_cast<size_t>(i * x.c + c)] = p;
  });
  return y;
}

Tensor globalMaxPoolBackward(const Tensor& dy, const std::vector<int64_t>& argmax, int64_t height, int64_t width) {
  Tensor dx(dy.n, height, width, dy.c);
  each(dy, [&](int64_t i, int64_t, int64_t, int64_t c) {
    const int64_t p = argmax[static_cast<size_t>(i * dy.c + c)];
    dx.at(i, p / width, p % width, c) = dy.at(i, 0, 0, c);
  });
  return dx;
}

Tensor globalAveragePool(const Tensor& x) {
  Tensor y(x.n, 1, 1, x.c);
  each(x, [&](int64_t i, int64_t py, int64_t px, int64_t c) { y.at(i, 0, 0, c) += x.at(i, py, px, c) / static_cast<double>(x.h * x.w); });
  return y;
}

Tensor globalAveragePoolBackward(const Tensor& dy, int64_t height, int64_t width) {
  Tensor dx(dy.n, height, width, dy.c);
  each(dx, [&](int64_t i, int64_t y, int64_t x, int64_t c) { dx.at(i, y, x, c) = dy.at(i, 0, 0, c) / static_cast<double>(height * width); });
  return dx;
}

Values linear(int64_t n, int64_t in, int64_t out, const Values& x, const Values& weight, const Values& bias) {
  Values y(static_cast<size_t>(n * out));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t o = 0; o < out; ++o) {
      double sum = bias.empty() ? 0 : bias[static_cast<size_t>(o)];
      for (int64_t k = 0; k < in; ++k) sum += x[static_cast<size_t>(i * in + k)] * weight[static_cast<size_t>(k * out + o)];
      y[static_cast<size_t>(i * out + o)] = sum;
    }
  return y;
}

void linearBackward(int64_t n, int64_t in, int64_t out, const Values& x, const Values& weight, const Values& dy, Values& dWeight, Values& dBias, Values& dx) {
  dWeight.assign(static_cast<size_t>(in * out), 0);
  dBias.assign(static_cast<size_t>(out), 0);
  dx.assign(static_cast<size_t>(n * in), 0);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t o = 0; o < out; ++o) {
      const double grad = dy[static_cast<size_t>(i * out + o)];
      dBias[static_cast<size_t>(o)] += grad;
      for (int64_t k = 0; k < in; ++k) {
        dWeight[static_cast<size_t>(k * out + o)] += x[static_cast<size_t>(i * in + k)] * grad;
        dx[static_cast<size_t>(i * in + k)] += weight[static_cast<size_t>(k * out + o)] * grad;
      }
    }
}

double loss(const LossWeights& weights, double weight, int64_t n, int64_t classes, const Values& logits, const std::vector<int32_t>& labels,
            const Values& targets, Values& dLogits) {
  const double temperature = weights.temperature, count = static_cast<double>(classes), share = weight / static_cast<double>(n);
  dLogits.assign(logits.size(), 0);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double* z = logits.data() + i * classes;
    const Values logP = logSoftmax(z, classes, 1), logQ = logSoftmax(z, classes, temperature);
    const Values logT = targets.empty() ? logQ : logSoftmax(targets.data() + i * classes, classes, temperature);
    for (int64_t c = 0; c < classes; ++c) {
      const size_t k = static_cast<size_t>(c);
      const double wanted = weights.labelSmoothing / count + (c == labels[static_cast<size_t>(i)] ? 1 - weights.labelSmoothing : 0.0);
      const double difference = targets.empty() ? 0 : z[c] - targets[static_cast<size_t>(i * classes + c)];
      double value = 0, slope = 0;
      if (weights.crossEntropy != 0) {
        value -= weights.crossEntropy * wanted * logP[k];
        slope += weights.crossEntropy * (std::exp(logP[k]) - wanted);
      }
      if (weights.matchLogits != 0) {
        value += weights.matchLogits * difference * difference / count;
        slope += weights.matchLogits * 2 * difference / count;
      }
      if (weights.distill != 0) {
        value += weights.distill * temperature * temperature * std::exp(logT[k]) * (logT[k] - logQ[k]);
        slope += weights.distill * temperature * (std::exp(logQ[k]) - std::exp(logT[k]));
      }
      total += share * value;
      dLogits[static_cast<size_t>(i * classes + c)] = share * slope;
    }
  }
  return total;
}

void sgdStep(double learningRate, double momentum, double weightDecay, const Values& gradient, Values& velocity, Values& parameter) {
  for (size_t k = 0; k < parameter.size(); ++k) {
    velocity[k] = momentum * velocity[k] + gradient[k] + weightDecay * parameter[k];
    parameter[k] -= learningRate * velocity[k];
  }
}

void adamStep(int64_t step, double learningRate, double beta1, double beta2, double epsilon, double weightDecay, const Values& gradient, Values& first,
              Values& second, Values& parameter) {
  const double correction1 = 1 - std::pow(beta1, static_cast<double>(step)), correction2 = 1 - std::pow(beta2, static_cast<double>(step));
  for (size_t k = 0; k < parameter.size(); ++k) {
    const double g = gradient[k] + weightDecay * parameter[k];
    first[k] = beta1 * first[k] + (1 - beta1) * g;
    second[k] = beta2 * second[k] + (1 - beta2) * g * g;
    parameter[k] -= learningRate * (first[k] / correction1) / (std::sqrt(second[k] / correction2) + epsilon);
  }
}

Tensor gatherImages(const std::vector<uint8_t>& pixels, const std::vector<int32_t>& index, const Values& mean, const Values& std, int64_t height, int64_t width,
                    int64_t channels, const std::vector<ImagePlacement>& placements) {
  Tensor y(static_cast<int64_t>(index.size()), height, width, channels);
  each(y, [&](int64_t i, int64_t py, int64_t px, int64_t c) {
    const ImagePlacement place = placements.empty() ? ImagePlacement{} : placements[static_cast<size_t>(i)];
    const int64_t row = py + place.down, column = (place.flip ? width - 1 - px : px) + place.right;
    if (row < 0 || row >= height || column < 0 || column >= width) return;
    const int64_t source = ((index[static_cast<size_t>(i)] * height + row) * width + column) * channels + c;
    y.at(i, py, px, c) = (pixels[static_cast<size_t>(source)] / 255.0 - mean[static_cast<size_t>(c)]) / std[static_cast<size_t>(c)];
  });
  return y;
}

}  // namespace lethe::reference
