// Shapes of convolutions that the tests of both precisions go through, with their results in double precision.
#pragma once
#include "train/train_fixture.h"

namespace lethe::test {

struct ConvCase {
  ConvShape shape;
  int64_t n, h, w;
  bool poison;  // one input is NaN
  std::string name() const {
    return "conv " + std::to_string(n) + "x" + std::to_string(h) + "x" + std::to_string(w) + " " + std::to_string(shape.inChannels) + "->" +
           std::to_string(shape.outChannels) + " kernel " + std::to_string(shape.kernel) + " stride " + std::to_string(shape.stride) + " pad " +
           std::to_string(shape.pad) + (poison ? " NaN" : "");
  }
  int64_t outSize(int64_t in) const { return in + 2 * shape.pad < shape.kernel ? 0 : (in + 2 * shape.pad - shape.kernel) / shape.stride + 1; }
};

// All kernels, strides and pads; channels, image counts and sizes take turns so that every value meets every other family.
inline std::vector<ConvCase> convCases() {
  const int64_t channels[] = {1, 3, 7, 8, 10, 16, 31, 32, 64}, sizes[] = {1, 2, 3, 4, 5, 6, 8, 9, 12, 13, 16, 17, 32, 33};
  std::mt19937 random(1);
  std::vector<ConvCase> result;
  for (int64_t kernel : {1, 3, 5, 7})
    for (int64_t stride : {1, 2, 3})
      for (int64_t pad : {0, 1, 2, 3})
        for (int tries = 0, kept = 0; kept < 14 && tries < 10000; ++tries) {
          const ConvShape shape{channels[random() % 9], channels[random() % 9], kernel, stride, pad};
          const ConvCase one{shape, random() % 2 ? 3 : 1, sizes[random() % 14], sizes[random() % 14], kept % 4 == 3};
          const int64_t outputs = one.outSize(one.h) * one.outSize(one.w);
          if (outputs == 0 || one.n * outputs * kernel * kernel * shape.inChannels * shape.outChannels > 3000000) continue;
          result.push_back(one);
          ++kept;
        }
  for (bool poison : {false, true}) {  // what Winograd's method takes
    result.push_back({{16, 31, 3, 1, 2}, 3, 4, 6, poison});
    result.push_back({{31, 16, 3, 1, 1}, 1, 14, 10, poison});
    result.push_back({{32, 32, 3, 1, 1}, 3, 8, 8, poison});
  }
  result.push_back({{3, 8, 3, 1, 1}, 2, 32, 32, false});  // the layers of ResNet-9 at an eighth and a quarter of its width
  result.push_back({{8, 16, 5, 2, 2}, 2, 32, 32, false});
  result.push_back({{32, 64, 3, 1, 1}, 2, 16, 16, false});
  result.push_back({{64, 32, 3, 1, 0}, 5, 8, 8, false});
  for (int64_t side : {16, 21}) {  // the strided layers of ResNet-18 at an eighth of its width
    result.push_back({{3, 8, 7, 2, 3}, 2, side, side + 1, false});
    result.push_back({{8, 16, 1, 2, 0}, 2, side, side + 1, false});
    result.push_back({{8, 16, 3, 2, 1}, 2, side, side + 1, false});
  }
  return result;
}

struct ConvExpected {
  Tensor x, dy, y, yScale, dx, dxScale;
  Values weight, dWeight, dWeightScale;
};

// rounded: inputs and weights are bf16 numbers.
inline ConvExpected expectation(const ConvCase& one, std::mt19937& random, bool rounded) {
  const ConvShape& s = one.shape;
  ConvExpected e;
  e.x = randomTensor(random, one.n, one.h, one.w, s.inChannels, 0.5);
  e.dy = randomTensor(random, one.n, one.outSize(one.h), one.outSize(one.w), s.outChannels, 0.1);
  e.weight = randomValues(random, s.kernel * s.kernel * s.inChannels * s.outChannels);
  for (Values* values : {&e.x.data, &e.dy.data, &e.weight}) {
    for (double& value : *values) value = rounded ? static_cast<float>(Bf16(static_cast<float>(value))) : value;
  }
  const size_t poisoned = random() % e.dy.data.size();
  if (one.poison) {
    e.x.data[random() % e.x.data.size()] = std::nan("");
    e.dy.data[poisoned] = std::nan("");
  }
  e.y = reference::convForward(s, e.x, e.weight);
  e.dx = reference::convInputGradient(s, e.dy, e.weight, one.h, one.w);
  e.dWeight = reference::convWeightGradient(s, e.x, e.dy);
  // every tap meets every output pixel, at the rim with a zero of the border: the poisoned channel is lost entirely
  for (size_t k = poisoned % static_cast<size_t>(s.outChannels); one.poison && k < e.dWeight.size(); k += static_cast<size_t>(s.outChannels))
    e.dWeight[k] = std::nan("");
  e.yScale = reference::convForward(s, absolute(e.x), absolute(e.weight));
  e.dxScale = reference::convInputGradient(s, absolute(e.dy), absolute(e.weight), one.h, one.w);
  e.dWeightScale = reference::convWeightGradient(s, absolute(e.x), absolute(e.dy));
  return e;
}

}  // namespace lethe::test
