// What the kernels for bf16 images are held to: the double-precision result of bf16 inputs, up to the error of fp32 sums and one rounding.
#pragma once
#include "train/conv_cases.h"

namespace lethe::test {

using Bf16Image = ImageBuffer<Bf16>;
constexpr double kHalfUlp = 1.0 / 256;  // half a step of 8 bits, of the value

inline double rounded(double value) { return static_cast<float>(Bf16(static_cast<float>(value))); }
inline Tensor rounded(Tensor t) {
  for (double& value : t.data) value = rounded(value);
  return t;
}
inline Tensor randomBf16(std::mt19937& random, int64_t n, int64_t h, int64_t w, int64_t c, double offset = 0) {
  return rounded(randomTensor(random, n, h, w, c, offset));
}

// One rounding of the exact value, and an fp32 error of `tolerance` times the sum of absolute terms before it.
inline void nearRounded(const Values& actual, const Values& expected, const Values& scale, double tolerance, const std::string& what) {
  Values bound(expected.size());
  for (size_t k = 0; k < bound.size(); ++k) bound[k] = kHalfUlp * std::fabs(expected[k]) + (1 + kHalfUlp) * tolerance * std::fabs(scale[k]) + 1e-37;
  near(actual, expected, bound, 1, what);
}
inline void nearRounded(const Values& actual, const Values& expected, double tolerance, const std::string& what) {
  double top = 0;
  for (double value : expected) top = std::isnan(value) ? top : std::max(top, std::fabs(value));
  nearRounded(actual, expected, Values(expected.size(), top), tolerance, what);
}

inline void checkConv(const ImageKernels<Bf16>& kernels, const ConvCase& one, const ConvExpected& e, const std::string& isa) {
  const ConvShape& s = one.shape;
  const std::string name = isa + " bf16 " + one.name();
  const int64_t need = std::max<int64_t>(0, s.kernel - 1 - s.pad), extra = (one.n + one.h) % 2;
  Bf16Image x(e.x, s.pad + extra), dy(e.dy, need + extra), y(one.n, e.y.h, e.y.w, s.outChannels, 1, kBorderMark);
  Bf16Image dx(one.n, one.h, one.w, s.inChannels, 2, kBorderMark);
  Guarded<float> weight = guarded(e.weight), dWeight(weight.size()), scratch(kernels.convScratchFloats(s, one.h, one.w));
  const double tolerance = 2e-6;  // of the sum of absolute terms, as for fp32
  scratch.fill(std::nanf(""));
  dWeight.fill(3);
  kernels.convForward(s, x.view, weight.data(), y.view, scratch.data());
  nearRounded(y.tensor().data, e.y.data, e.yScale.data, tolerance, name + " forward");
  kernels.convInputGradient(s, dy.view, weight.data(), dx.view, scratch.data());
  nearRounded(dx.tensor().data, e.dx.data, e.dxScale.data, tolerance, name + " input gradient");
  kernels.convWeightGradient(s, x.view, dy.view, dWeight.data(), scratch.data());
  near(values(dWeight), e.dWeight, e.dWeightScale, tolerance, name + " weight gradient");
  expect(y.intact() && dx.intact() && scratch.guardsIntact() && dWeight.guardsIntact(), name + " wrote outside");
  expect(x.intact() && dy.intact() && weight.guardsIntact(), name + " changed its inputs");
}

}  // namespace lethe::test
