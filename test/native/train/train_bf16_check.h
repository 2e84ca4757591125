// The kernels for bf16 images but the convolutions against the double-precision reference, on inputs that are bf16 numbers.
#pragma once
#include "train/bf16_check.h"

namespace lethe::test {

struct Bf16Size {
  int64_t n, h, w, c;
};
inline const Bf16Size kBf16Sizes[] = {{1, 1, 1, 1}, {3, 5, 7, 7}, {3, 8, 8, 32}, {1, 33, 9, 10}, {2, 4, 6, 31}, {5, 2, 2, 64}, {2, 16, 16, 8}};

inline void checkNorm(const ImageKernels<Bf16>& kernels, const Bf16Size& s, bool poison, const std::string& name) {
  std::mt19937 random(static_cast<unsigned>(s.c));
  Tensor x = randomBf16(random, s.n, s.h, s.w, s.c, 0.5), dy = randomBf16(random, s.n, s.h, s.w, s.c);
  if (poison) x.data[x.data.size() / 3] = dy.data[x.data.size() / 3] = std::nan("");
  const Values mean = randomValues(random, s.c, 0.5, 0.1), inverse = absolute(randomValues(random, s.c, 1, 0.2)), gamma = randomValues(random, s.c),
               beta = randomValues(random, s.c);
  Guarded<float> fMean = guarded(mean), fInverse = guarded(inverse), fGamma = guarded(gamma), fBeta = guarded(beta), first(s.c), second(s.c);
  Bf16Image fx(x, 1), fdy(dy, 2), y(s.n, s.h, s.w, s.c, 2, kBorderMark), dx(s.n, s.h, s.w, s.c, 1, kBorderMark);
  Values expectedFirst, expectedSecond;
  reference::batchNormStatistics(x, expectedFirst, expectedSecond);
  kernels.batchNormStatistics(fx.view, first.data(), second.data());
  near(values(first), expectedFirst, 1e-6, name + " mean");
  near(values(second), expectedSecond, 5e-6, name + " variance");
  for (const bool relu : {false, true}) {
    kernels.affine(fx.view, fGamma.data(), fBeta.data(), relu, y.view);
    nearRounded(y.tensor().data, reference::affine(x, gamma, beta, relu).data, 1e-6, name + " affine");
    for (const bool batch : {false, true}) {
      const Tensor expected = reference::batchNormBackward(x, dy, mean, inverse, gamma, beta, relu, batch, expectedFirst, expectedSecond);
      kernels.batchNormBackward(fx.view, fdy.view, fMean.data(), fInverse.data(), fGamma.data(), fBeta.data(), relu, batch, first.data(), second.data(),
                                dx.view);
      nearRounded(dx.tensor().data, expected.data, 5e-6, name + " dx");
      near(values(first), expectedFirst, 5e-6, name + " dGamma");
      near(values(second), expectedSecond, 5e-6, name + " dBeta");
      Bf16Image inPlace(x, 1);
      kernels.batchNormBackward(inPlace.view, fdy.view, fMean.data(), fInverse.data(), fGamma.data(), fBeta.data(), relu, batch, first.data(), second.data(),
                                inPlace.view);
      nearRounded(inPlace.tensor().data, expected.data, 5e-6, name + " dx over x");
    }
  }
  expect(fx.intact() && fdy.intact() && y.intact() && dx.intact() && first.guardsIntact() && second.guardsIntact(), name + " wrote outside");
}

inline void checkPointwise(const ImageKernels<Bf16>& kernels, const Bf16Size& s, const std::string& name) {
  std::mt19937 random(3);
  Tensor a = randomBf16(random, s.n, s.h, s.w, s.c), b = randomBf16(random, s.n, s.h, s.w, s.c);
  a.data.back() = std::nan("");
  Bf16Image fa(a, 0), fb(b, 1), y(s.n, s.h, s.w, s.c, 2, kBorderMark);
  kernels.relu(fa.view, y.view);
  near(y.tensor().data, reference::relu(a).data, 0, name + " relu");
  kernels.reluBackward(fa.view, fb.view, y.view);
  near(y.tensor().data, reference::reluBackward(a, b).data, 0, name + " relu backward");
  kernels.add(fa.view, fb.view, y.view);
  near(y.tensor().data, rounded(reference::add(a, b)).data, 0, name + " add");
  kernels.addRelu(fa.view, fb.view, y.view);
  near(y.tensor().data, rounded(reference::relu(reference::add(a, b))).data, 0, name + " add relu");
  std::vector<uint8_t> pixels(static_cast<size_t>(3 * s.h * s.w * s.c));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random());
  const std::vector<int32_t> index(static_cast<size_t>(s.n), 2);
  const Values mean = randomValues(random, s.c, 0.5, 0.1), std = absolute(randomValues(random, s.c, 1, 0.1));
  Guarded<float> fMean = guarded(mean), fStd = guarded(std);
  kernels.gatherImages(pixels.data(), index.data(), nullptr, fMean.data(), fStd.data(), y.view);
  nearRounded(y.tensor().data, reference::gatherImages(pixels, index, mean, std, s.h, s.w, s.c).data, 1e-6, name + " gather");
  expect(y.intact() && fa.intact() && fb.intact(), name + " wrote outside");
}

inline void checkPools(const ImageKernels<Bf16>& kernels, const Bf16Size& s, const std::string& name) {
  std::mt19937 random(4);
  Tensor x = randomTensor(random, s.n, s.h, s.w, s.c);
  for (double& value : x.data) value = std::round(value * 2);  // many ties
  x.data[x.data.size() / 2] = std::nan("");
  std::vector<int64_t> chosen;
  for (const PoolShape& shape : {PoolShape{2, 2, 1}, PoolShape{3, 2, 1}, PoolShape{1, 1, 0}}) {
    const Tensor y = reference::maxPool(shape, x, chosen), dy = randomBf16(random, y.n, y.h, y.w, y.c);
    const Tensor dx = reference::maxPoolBackward(shape, dy, chosen, s.h, s.w);
    Bf16Image fx(x, 1), fy(y.n, y.h, y.w, y.c, 1, kBorderMark), fdy(dy, 1), fdx(x.n, x.h, x.w, x.c, 1, kBorderMark);
    Guarded<uint8_t> argmax(y.n * y.h * y.w * y.c);
    kernels.maxPool(shape, fx.view, fy.view, argmax.data());
    near(fy.tensor().data, y.data, 0, name + " max pool");
    expect(std::equal(chosen.begin(), chosen.end(), argmax.data()), name + " max pool argmax");
    kernels.maxPoolBackward(shape, fdy.view, argmax.data(), fdx.view);
    nearRounded(fdx.tensor().data, dx.data, 1e-6, name + " max pool backward");
    expect(fx.intact() && fy.intact() && fdx.intact() && argmax.guardsIntact(), name + " max pool wrote outside");
  }
  const Tensor top = reference::globalMaxPool(x, chosen), dTop = randomTensor(random, s.n, 1, 1, s.c);
  Bf16Image fx(x, 1), fdx(x.n, x.h, x.w, x.c, 1, kBorderMark);
  Guarded<float> vector(s.n * s.c), dVector = guarded(dTop.data);
  Guarded<int32_t> place(s.n * s.c);
  kernels.globalMaxPool(fx.view, vector.data(), place.data());
  near(values(vector), top.data, 0, name + " global max");
  expect(std::equal(chosen.begin(), chosen.end(), place.data()), name + " global argmax");
  kernels.globalMaxPoolBackward(dVector.data(), place.data(), fdx.view);
  near(fdx.tensor().data, rounded(reference::globalMaxPoolBackward(dTop, chosen, x.h, x.w)).data, 0, name + " global max backward");
  kernels.globalAveragePool(fx.view, vector.data());
  near(values(vector), reference::globalAveragePool(x).data, 1e-5, name + " average");
  kernels.globalAveragePoolBackward(dVector.data(), fdx.view);
  nearRounded(fdx.tensor().data, reference::globalAveragePoolBackward(dTop, x.h, x.w).data, 1e-6, name + " average backward");
  expect(fx.intact() && fdx.intact() && place.guardsIntact() && vector.guardsIntact(), name + " global pools wrote outside");
}

// Everything but the convolutions, of one table.
inline void checkBf16Kernels(const ImageKernels<Bf16>& kernels, const std::string& name) {
  for (const Bf16Size& s : kBf16Sizes) {
    const std::string at = name + " bf16 " + std::to_string(s.n) + "x" + std::to_string(s.h) + "x" + std::to_string(s.w) + "x" + std::to_string(s.c);
    for (const bool poison : {false, true}) checkNorm(kernels, s, poison, at);
    checkPointwise(kernels, s, at);
    checkPools(kernels, s, at);
  }
}

}  // namespace lethe::test
