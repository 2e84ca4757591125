// Convolution kernels of every instruction set against the double-precision reference.
#include "train_fixture.h"

using namespace lethe;
using namespace lethe::test;

namespace {

struct Case {
  ConvShape shape;
  int64_t n, h, w;
  bool poison;  // one input is NaN
  std::string name() const {
    return "conv " + std::to_string(n) + "x" + std::to_string(h) + "x" + std::to_string(w) + " " + std::to_string(shape.inChannels) +
           "->" + std::to_string(shape.outChannels) + " kernel " + std::to_string(shape.kernel) + " stride " +
           std::to_string(shape.stride) + " pad " + std::to_string(shape.pad) + (poison ? " NaN" : "");
  }
  int64_t outSize(int64_t in) const {
    return in + 2 * shape.pad < shape.kernel ? 0 : (in + 2 * shape.pad - shape.kernel) / shape.stride + 1;
  }
};

// All kernels, strides and pads; channels, image counts and sizes take turns so that every value meets every other family.
std::vector<Case> cases() {
  const int64_t channels[] = {1, 3, 7, 8, 10, 16, 31, 32, 64}, sizes[] = {1, 2, 3, 4, 5, 6, 8, 9, 12, 13, 16, 17, 32, 33};
  std::mt19937 random(1);
  std::vector<Case> result;
  for (int64_t kernel : {1, 3, 5, 7})
    for (int64_t stride : {1, 2, 3})
      for (int64_t pad : {0, 1, 2, 3})
        for (int tries = 0, kept = 0; kept < 14 && tries < 10000; ++tries) {
          const ConvShape shape{channels[random() % 9], channels[random() % 9], kernel, stride, pad};
          const Case one{shape, random() % 2 ? 3 : 1, sizes[random() % 14], sizes[random() % 14], kept % 4 == 3};
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

struct Expected {
  Tensor x, dy, y, yScale, dx, dxScale;
  Values weight, dWeight, dWeightScale;
};

Expected expectation(const Case& one, std::mt19937& random) {
  const ConvShape& s = one.shape;
  Expected e;
  e.x = randomTensor(random, one.n, one.h, one.w, s.inChannels, 0.5);
  e.dy = randomTensor(random, one.n, one.outSize(one.h), one.outSize(one.w), s.outChannels, 0.1);
  e.weight = randomValues(random, s.kernel * s.kernel * s.inChannels * s.outChannels);
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

// Winograd's method may spread a NaN over the 2 x 2 outputs of its tile, but no further, and may lose none.
void nearTile(const Case& one, const Tensor& actual, Tensor expected, const Values& scale, double tolerance, const std::string& what) {
  const Tensor exact = expected;
  const bool tiles = one.poison && one.shape.kernel == 3 && one.shape.stride == 1 && exact.h % 2 == 0 && exact.w % 2 == 0;
  for (size_t k = 0; tiles && k < exact.data.size(); ++k) {
    const int64_t at = static_cast<int64_t>(k), c = at % exact.c, x = at / exact.c % exact.w, y = at / exact.c / exact.w % exact.h;
    const int64_t image = at / exact.c / exact.w / exact.h;
    bool touched = false;
    for (int64_t other = 0; other < 4; ++other) touched |= std::isnan(exact.at(image, y / 2 * 2 + other / 2, x / 2 * 2 + other % 2, c));
    if (touched && std::isnan(actual.data[k])) expected.data[k] = actual.data[k];
  }
  near(actual.data, expected.data, scale, tolerance, what);
}

void check(const TrainKernels& kernels, const Case& one, const Expected& e, const std::string& isa) {
  const ConvShape& s = one.shape;
  const std::string name = isa + " " + one.name();
  const int64_t need = std::max<int64_t>(0, s.kernel - 1 - s.pad), extra = (one.n + one.h) % 2;  // the least border and a wider one
  Image x(e.x, s.pad + extra), dy(e.dy, need + extra), y(one.n, e.y.h, e.y.w, s.outChannels, 1, kBorderMark);
  Image dx(one.n, one.h, one.w, s.inChannels, 2, kBorderMark);
  Guarded<float> weight = guarded(e.weight), dWeight(weight.size()), again(weight.size()), scratch(kernels.convScratchFloats(s));
  dWeight.fill(3);
  const double tolerance = 2e-6;  // of the sum of absolute terms: loose enough for any fixed order, tight enough for one lost term
  kernels.convForward(s, x.view, weight.data(), y.view, scratch.data());
  nearTile(one, y.tensor(), e.y, e.yScale.data, tolerance, name + " forward");
  expect(y.intact(), name + " forward wrote outside");
  kernels.convInputGradient(s, dy.view, weight.data(), dx.view, scratch.data());
  nearTile(one, dx.tensor(), e.dx, e.dxScale.data, tolerance, name + " input gradient");
  expect(dx.intact() && scratch.guardsIntact(), name + " input gradient wrote outside");
  kernels.convWeightGradient(s, x.view, dy.view, dWeight.data(), scratch.data());
  Values expectedWeight = e.dWeight;
  for (size_t k = 0; one.poison && k < expectedWeight.size(); ++k) {  // Winograd's method spreads a NaN of x over all nine taps
    const size_t pair = k % static_cast<size_t>(s.inChannels * s.outChannels);
    for (size_t tap = pair; tap < expectedWeight.size() && s.kernel == 3; tap += static_cast<size_t>(s.inChannels * s.outChannels))
      if (std::isnan(e.dWeight[tap]) && std::isnan(dWeight[static_cast<int64_t>(k)])) expectedWeight[k] = std::nan("");
  }
  near(values(dWeight), expectedWeight, e.dWeightScale, tolerance, name + " weight gradient");
  scratch.fill(5);
  kernels.convWeightGradient(s, x.view, dy.view, again.data(), scratch.data());
  expect(std::memcmp(dWeight.data(), again.data(), static_cast<size_t>(weight.size()) * 4) == 0, name + " weight gradient not reproducible");
  expect(dWeight.guardsIntact() && scratch.guardsIntact(), name + " weight gradient wrote outside");
  expect(x.intact() && dy.intact() && weight.guardsIntact(), name + " changed its inputs");
}

}  // namespace

int main() {
  std::mt19937 random(2);
  std::vector<Case> table = cases();
  std::vector<Expected> expected;
  for (const Case& one : table) expected.push_back(expectation(one, random));
  eachIsa([&](const TrainKernels& kernels, const std::string& isa) {
    for (size_t k = 0; k < table.size(); ++k) check(kernels, table[k], expected[k], isa);
  });
  return finish();
}
