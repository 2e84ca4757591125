// Convolution kernels of every instruction set against the double-precision reference.
#include "train/conv_cases.h"

using namespace lethe;
using namespace lethe::test;

namespace {

// Winograd's method may spread a NaN over the 2 x 2 outputs of its tile, but no further, and may lose none.
void nearTile(const ConvCase& one, const Tensor& actual, Tensor expected, const Values& scale, double tolerance, const std::string& what) {
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

void check(const TrainKernels& kernels, const ConvCase& one, const ConvExpected& e, const std::string& isa) {
  const ConvShape& s = one.shape;
  const std::string name = isa + " " + one.name();
  const int64_t need = std::max<int64_t>(0, s.kernel - 1 - s.pad), extra = (one.n + one.h) % 2;  // the least border and a wider one
  Image x(e.x, s.pad + extra), dy(e.dy, need + extra), y(one.n, e.y.h, e.y.w, s.outChannels, 1, kBorderMark);
  Image dx(one.n, one.h, one.w, s.inChannels, 2, kBorderMark);
  Guarded<float> weight = guarded(e.weight), dWeight(weight.size()), again(weight.size()), scratch(kernels.convScratchFloats(s, one.h, one.w));
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
  std::vector<ConvCase> table = convCases();
  std::vector<ConvExpected> expected;
  for (const ConvCase& one : table) expected.push_back(expectation(one, random, false));
  eachIsa([&](const TrainKernels& kernels, const std::string& isa) {
    for (size_t k = 0; k < table.size(); ++k) check(kernels, table[k], expected[k], isa);
  });
  return finish();
}
