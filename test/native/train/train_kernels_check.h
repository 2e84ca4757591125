// Every training kernel but the convolutions against the double-precision reference: what each table is held to.
#pragma once
#include "train/train_fixture.h"

namespace lethe::test {

struct Size {
  int64_t n, h, w, c;
  std::string name() const { return std::to_string(n) + "x" + std::to_string(h) + "x" + std::to_string(w) + "x" + std::to_string(c); }
};
inline const Size kSizes[] = {{1, 1, 1, 1},  {3, 1, 2, 3},   {1, 6, 6, 16}, {3, 5, 7, 7},  {2, 16, 16, 16},
                              {3, 8, 8, 32}, {1, 33, 9, 10}, {2, 4, 6, 31}, {5, 2, 2, 64}, {2, 32, 32, 8}};

// Side by side, with gaps, overlapping, with padding, and what leaves a last row or column out.
inline const PoolShape pools[] = {{1, 1, 0}, {2, 2, 0}, {3, 3, 0}, {2, 3, 1}, {3, 1, 0}, {3, 2, 1}, {3, 3, 1}, {5, 2, 2}, {16, 5, 8}};

inline Values positive(std::mt19937& random, int64_t count) {
  Values v = absolute(randomValues(random, count));
  for (double& value : v) value = static_cast<float>(value + 0.3);
  return v;
}

inline void checkStatistics(const TrainKernels& kernels, const Size& s, double offset, bool poison, const std::string& name) {
  std::mt19937 random(static_cast<unsigned>(s.c));
  Tensor x = randomTensor(random, s.n, s.h, s.w, s.c, offset, 0.7);
  if (poison) x.data[x.data.size() / 2] = std::nan("");
  Image image(x, 1);
  Guarded<float> mean(s.c), variance(s.c);
  Values expectedMean, expectedVariance;
  reference::batchNormStatistics(x, expectedMean, expectedVariance);
  kernels.batchNormStatistics(image.view, mean.data(), variance.data());
  near(values(mean), expectedMean, 1e-6, name + " mean");
  near(values(variance), expectedVariance, 5e-6, name + " variance");
  expect(image.intact() && mean.guardsIntact() && variance.guardsIntact(), name + " statistics wrote outside");
}

inline void checkBatchNorm(const TrainKernels& kernels, const Size& s, bool relu, bool batch, bool poison, const std::string& isa) {
  const std::string name = isa + " batchNorm " + s.name() + (relu ? " relu" : "") + (batch ? " batch" : " eval") + (poison ? " NaN" : "");
  std::mt19937 random(static_cast<unsigned>(s.c + 7));
  Tensor x = randomTensor(random, s.n, s.h, s.w, s.c, 0.5), dy = randomTensor(random, s.n, s.h, s.w, s.c, 0.1);
  if (poison) x.data[x.data.size() / 3] = dy.data[x.data.size() / 3] = std::nan("");
  const Values mean = randomValues(random, s.c, 0.5, 0.1), inverseStd = positive(random, s.c), gamma = randomValues(random, s.c),
               beta = randomValues(random, s.c);
  Guarded<float> fMean = guarded(mean), fInverse = guarded(inverseStd), fGamma = guarded(gamma), fBeta = guarded(beta), dGamma(s.c), dBeta(s.c);
  Image fx(x, 1), fdy(dy, 2), fdx(s.n, s.h, s.w, s.c, 1, kBorderMark), fy(s.n, s.h, s.w, s.c, 2, kBorderMark);
  kernels.affine(fx.view, fGamma.data(), fBeta.data(), relu, fy.view);
  near(fy.tensor().data, reference::affine(x, gamma, beta, relu).data, 1e-6, name + " affine");
  expect(fy.intact() && fx.intact(), name + " affine wrote outside");

  Values expectedGamma, expectedBeta;
  const Tensor expected = reference::batchNormBackward(x, dy, mean, inverseStd, gamma, beta, relu, batch, expectedGamma, expectedBeta);
  kernels.batchNormBackward(fx.view, fdy.view, fMean.data(), fInverse.data(), fGamma.data(), fBeta.data(), relu, batch, dGamma.data(), dBeta.data(), fdx.view);
  near(fdx.tensor().data, expected.data, 5e-6, name + " dx");
  near(values(dGamma), expectedGamma, 5e-6, name + " dGamma");
  near(values(dBeta), expectedBeta, 5e-6, name + " dBeta");
  expect(fdx.intact() && fx.intact() && fdy.intact() && dGamma.guardsIntact() && dBeta.guardsIntact(), name + " wrote outside");
  Image inPlace(dy, 1);  // dx may be dy
  kernels.batchNormBackward(fx.view, inPlace.view, fMean.data(), fInverse.data(), fGamma.data(), fBeta.data(), relu, batch, dGamma.data(), dBeta.data(),
                            inPlace.view);
  near(inPlace.tensor().data, expected.data, 5e-6, name + " dx in place");
}

inline void checkPointwise(const TrainKernels& kernels, const Size& s, const std::string& isa) {
  const std::string name = isa + " pointwise " + s.name();
  std::mt19937 random(3);
  Tensor a = randomTensor(random, s.n, s.h, s.w, s.c), b = randomTensor(random, s.n, s.h, s.w, s.c);
  a.data.back() = std::nan("");
  a.data.front() = 0;
  Image fa(a, 0), fb(b, 1), y(s.n, s.h, s.w, s.c, 2, kBorderMark);
  kernels.relu(fa.view, y.view);
  near(y.tensor().data, reference::relu(a).data, 0, name + " relu");
  kernels.reluBackward(fa.view, fb.view, y.view);
  near(y.tensor().data, reference::reluBackward(a, b).data, 0, name + " relu backward");
  kernels.add(fa.view, fb.view, y.view);
  near(y.tensor().data, reference::add(a, b).data, 1e-6, name + " add");
  kernels.addRelu(fa.view, fb.view, y.view);
  near(y.tensor().data, reference::relu(reference::add(a, b)).data, 1e-6, name + " add with relu");
  expect(y.intact() && fa.intact() && fb.intact(), name + " wrote outside");
  Image masked(b, 1);  // dx may be dy
  kernels.reluBackward(fa.view, masked.view, masked.view);
  near(masked.tensor().data, reference::reluBackward(a, b).data, 0, name + " relu backward in place");
  kernels.add(fa.view, fb.view, fb.view);
  near(fb.tensor().data, reference::add(a, b).data, 1e-6, name + " add in place");

  std::vector<uint8_t> pixels(static_cast<size_t>(7 * s.h * s.w * s.c));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random());
  std::vector<int32_t> index;
  for (int64_t i = 0; i < s.n; ++i) index.push_back(static_cast<int32_t>(random() % 7));
  const Values mean = randomValues(random, s.c, 0.5, 0.1), std = positive(random, s.c);
  Guarded<float> fMean = guarded(mean), fStd = guarded(std);
  kernels.gatherImages(pixels.data(), index.data(), nullptr, fMean.data(), fStd.data(), y.view);
  near(y.tensor().data, reference::gatherImages(pixels, index, mean, std, s.h, s.w, s.c).data, 1e-6, name + " gather");
  expect(y.intact(), name + " gather wrote outside");
  for (const int32_t reach : {0, 1, 3, 40}) {  // 40: images that are shifted out of view
    std::vector<ImagePlacement> placements;
    const auto offset = [&] { return static_cast<int32_t>(random() % static_cast<unsigned>(2 * reach + 1)) - reach; };
    for (int64_t i = 0; i < s.n; ++i) placements.push_back({offset(), offset(), i % 2 == 0});
    kernels.gatherImages(pixels.data(), index.data(), placements.data(), fMean.data(), fStd.data(), y.view);
    near(y.tensor().data, reference::gatherImages(pixels, index, mean, std, s.h, s.w, s.c, placements).data, 1e-6,
         name + " gather placed within " + std::to_string(reach));
    expect(y.intact(), name + " placed gather wrote outside");
  }
}

inline void checkMaxPool(const TrainKernels& kernels, const Size& s, const PoolShape& shape, const std::string& isa) {
  const std::string name =
      isa + " maxPool " + s.name() + " by " + std::to_string(shape.size) + " stride " + std::to_string(shape.stride) + " pad " + std::to_string(shape.pad);
  std::mt19937 random(4);
  Tensor x = randomTensor(random, s.n, s.h, s.w, s.c);
  for (double& value : x.data) value = std::round(value * 2);  // many ties
  x.data[x.data.size() / 2] = std::nan("");
  std::vector<int64_t> expectedIndex;
  const Tensor y = reference::maxPool(shape, x, expectedIndex), dy = randomTensor(random, y.n, y.h, y.w, y.c);
  Image fx(x, 1), fy(y.n, y.h, y.w, y.c, 1, kBorderMark), fdy(dy, 1), fdx(x.n, x.h, x.w, x.c, 1, kBorderMark);
  Guarded<uint8_t> argmax(y.n * y.h * y.w * y.c);
  kernels.maxPool(shape, fx.view, fy.view, argmax.data());
  near(fy.tensor().data, y.data, 0, name + " forward");
  expect(std::equal(expectedIndex.begin(), expectedIndex.end(), argmax.data()), name + " argmax");
  kernels.maxPoolBackward(shape, fdy.view, argmax.data(), fdx.view);
  near(fdx.tensor().data, reference::maxPoolBackward(shape, dy, expectedIndex, s.h, s.w).data, 1e-6, name + " backward");
  expect(fy.intact() && fdx.intact() && argmax.guardsIntact(), name + " wrote outside");
}

inline void checkGlobalPools(const TrainKernels& kernels, const Size& s, const std::string& isa) {
  const std::string name = isa + " global pools " + s.name();
  std::mt19937 random(5);
  Tensor x = randomTensor(random, s.n, s.h, s.w, s.c), dy = randomTensor(random, s.n, 1, 1, s.c);
  for (double& value : x.data) value = std::round(value * 2);
  x.data.back() = std::nan("");
  std::vector<int64_t> expectedIndex;
  const Tensor top = reference::globalMaxPool(x, expectedIndex);
  Image fx(x, 1), fdx(s.n, s.h, s.w, s.c, 1, kBorderMark);
  Guarded<float> y(s.n * s.c), fdy = guarded(dy.data);
  Guarded<int32_t> argmax(s.n * s.c);
  kernels.globalMaxPool(fx.view, y.data(), argmax.data());
  near(values(y), top.data, 0, name + " max");
  expect(std::equal(expectedIndex.begin(), expectedIndex.end(), argmax.data()) && argmax.guardsIntact(), name + " argmax");
  kernels.globalMaxPoolBackward(fdy.data(), argmax.data(), fdx.view);
  near(fdx.tensor().data, reference::globalMaxPoolBackward(dy, expectedIndex, s.h, s.w).data, 0, name + " max backward");
  kernels.globalAveragePool(fx.view, y.data());
  near(values(y), reference::globalAveragePool(x).data, 1e-5, name + " average");
  kernels.globalAveragePoolBackward(fdy.data(), fdx.view);
  near(fdx.tensor().data, reference::globalAveragePoolBackward(dy, s.h, s.w).data, 1e-6, name + " average backward");
  expect(y.guardsIntact() && fdx.intact(), name + " wrote outside");
}

inline void checkLinear(const TrainKernels& kernels, int64_t n, int64_t in, int64_t out, const std::string& isa) {
  const std::string name = isa + " linear " + std::to_string(n) + " x " + std::to_string(in) + " -> " + std::to_string(out);
  std::mt19937 random(6);
  const Values x = randomValues(random, n * in), weight = randomValues(random, in * out), bias = randomValues(random, out), dy = randomValues(random, n * out);
  Guarded<float> fx = guarded(x), fWeight = guarded(weight), fBias = guarded(bias), fdy = guarded(dy), y(n * out), dWeight(in * out), dBias(out), dx(n * in);
  kernels.linear(n, in, out, fx.data(), fWeight.data(), fBias.data(), y.data());
  near(values(y), reference::linear(n, in, out, x, weight, bias), 2e-6, name);
  kernels.linear(n, in, out, fx.data(), fWeight.data(), nullptr, y.data());
  near(values(y), reference::linear(n, in, out, x, weight, {}), 2e-6, name + " without bias");
  Values expectedWeight, expectedBias, expectedX;
  reference::linearBackward(n, in, out, x, weight, dy, expectedWeight, expectedBias, expectedX);
  kernels.linearBackward(n, in, out, fx.data(), fWeight.data(), fdy.data(), dWeight.data(), dBias.data(), dx.data());
  near(values(dWeight), expectedWeight, 4e-6, name + " dWeight");
  near(values(dBias), expectedBias, 4e-6, name + " dBias");
  near(values(dx), expectedX, 2e-6, name + " dx");
  kernels.linearBackward(n, in, out, fx.data(), fWeight.data(), fdy.data(), dWeight.data(), nullptr, nullptr);
  near(values(dWeight), expectedWeight, 4e-6, name + " dWeight alone");
  expect(y.guardsIntact() && dWeight.guardsIntact() && dBias.guardsIntact() && dx.guardsIntact(), name + " wrote outside");
}

inline void checkLoss(const TrainKernels& kernels, const LossWeights& weights, int64_t n, int64_t classes, bool poison, const std::string& name) {
  std::mt19937 random(7);
  Values logits = randomValues(random, n * classes, 0, 4);
  if (poison) logits[1] = std::nan("");
  const Values targets = randomValues(random, n * classes, 0, 4);
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < n; ++i) labels.push_back(static_cast<int32_t>(random() % static_cast<unsigned>(classes)));
  Guarded<float> fLogits = guarded(logits), fTargets = guarded(targets), dLogits(n * classes);
  const bool needsTargets = weights.matchLogits != 0 || weights.distill != 0, needsLabels = weights.crossEntropy != 0;
  Values expected;
  std::vector<double> value(1);
  kernels.loss(weights, 0.75f, n, classes, fLogits.data(), needsLabels ? labels.data() : nullptr, needsTargets ? fTargets.data() : nullptr, dLogits.data(),
               value.data());
  const double wanted = reference::loss(weights, 0.75, n, classes, logits, labels, needsTargets ? targets : Values{}, expected);
  near({value[0]}, {wanted}, 1e-7, name + " loss");
  near(values(dLogits), expected, 1e-6, name + " dLogits");
  expect(dLogits.guardsIntact(), name + " wrote outside");
}

inline void checkOptimizers(const TrainKernels& kernels, int64_t count, const std::string& isa) {
  const std::string name = isa + " optimizer of " + std::to_string(count);
  std::mt19937 random(8);
  Values parameter = randomValues(random, count), velocity = randomValues(random, count), first = velocity, second = absolute(velocity), adam = parameter;
  const Values gradient = randomValues(random, count);
  Guarded<float> fGradient = guarded(gradient), fParameter = guarded(parameter), fVelocity = guarded(velocity), fFirst = guarded(first),
                 fSecond = guarded(second), fAdam = guarded(adam);
  for (int64_t step = 1; step <= 3; ++step) {
    kernels.sgdStep(count, 0.1f, 0.9f, 5e-4f, fGradient.data(), fVelocity.data(), fParameter.data(), nullptr);
    reference::sgdStep(0.1f, 0.9f, 5e-4f, gradient, velocity, parameter);
    kernels.adamStep(count, step, 0.01f, 0.9f, 0.999f, 1e-8f, 1e-2f, fGradient.data(), fFirst.data(), fSecond.data(), fAdam.data(), nullptr);
    reference::adamStep(step, 0.01f, 0.9f, 0.999f, 1e-8f, 1e-2f, gradient, first, second, adam);
  }
  near(values(fParameter), parameter, 2e-6, name + " sgd");
  near(values(fVelocity), velocity, 2e-6, name + " velocity");
  near(values(fAdam), adam, 2e-6, name + " adam");
  near(values(fFirst), first, 2e-6, name + " first moment");
  near(values(fSecond), second, 2e-6, name + " second moment");
  expect(fParameter.guardsIntact() && fVelocity.guardsIntact() && fAdam.guardsIntact() && fFirst.guardsIntact() && fSecond.guardsIntact(),
         name + " wrote outside");
}

inline void checkVectors(const TrainKernels& kernels, int64_t count, const std::string& isa) {
  const std::string name = isa + " vectors of " + std::to_string(count);
  std::mt19937 random(9);
  const Values mean = randomValues(random, count), variance = positive(random, count), gamma = randomValues(random, count), beta = randomValues(random, count);
  Values runningMean = randomValues(random, count), runningVariance = positive(random, count), inverse, scale, shift, sum;
  Guarded<float> fMean = guarded(mean), fVariance = guarded(variance), fGamma = guarded(gamma), fBeta = guarded(beta), fInverse(count), fScale(count),
                 fShift(count), fRunningMean = guarded(runningMean), fRunningVariance = guarded(runningVariance), fSum = guarded(beta);
  for (size_t k = 0; k < mean.size(); ++k) {
    inverse.push_back(1 / std::sqrt(variance[k] + static_cast<double>(1e-5f)));
    scale.push_back(gamma[k] * inverse[k]);
    shift.push_back(beta[k] - mean[k] * scale[k]);
    runningMean[k] = 0.75 * runningMean[k] + 0.25 * mean[k];
    runningVariance[k] = 0.75 * runningVariance[k] + 0.25 * 1.5 * variance[k];
    sum.push_back(beta[k] + mean[k]);
  }
  kernels.foldNorm(count, 1e-5f, fMean.data(), fVariance.data(), fGamma.data(), fBeta.data(), fInverse.data(), fScale.data(), fShift.data());
  near(values(fInverse), inverse, 1e-6, name + " inverse deviation");
  near(values(fScale), scale, 1e-6, name + " scale");
  near(values(fShift), shift, 1e-6, name + " shift");
  kernels.moveRunning(count, 0.25f, 1.5f, fMean.data(), fVariance.data(), fRunningMean.data(), fRunningVariance.data());
  near(values(fRunningMean), runningMean, 1e-6, name + " running mean");
  near(values(fRunningVariance), runningVariance, 1e-6, name + " running variance");
  kernels.addVector(count, fMean.data(), fSum.data());
  near(values(fSum), sum, 1e-6, name + " sum");
  expect(fInverse.guardsIntact() && fScale.guardsIntact() && fShift.guardsIntact() && fRunningMean.guardsIntact() && fRunningVariance.guardsIntact() &&
             fSum.guardsIntact(),
         name + " wrote outside");

  const float bad[] = {std::nanf(""), HUGE_VALF, -HUGE_VALF, 3.4e38f};
  for (const float value : bad) {
    std::vector<EpochState> state(1);
    kernels.checkFinite(count, fMean.data(), state.data());
    fMean[count - 1] = value;
    const bool before = state[0].diverged != 0;
    kernels.checkFinite(count, fMean.data(), state.data());
    expect(!before && (state[0].diverged != 0) == !std::isfinite(value), name + " finiteness");
    fMean[count - 1] = 1;
  }
}

// Steps add up until one is not finite; then neither sums nor parameters move.
inline void checkEpoch(const TrainKernels& kernels, const std::string& isa) {
  std::vector<EpochState> state(1);
  std::vector<double> losses{0.5, 0.25};
  std::vector<float> gradient{1}, velocity{0}, parameter{1};
  const auto step = [&](double second) {
    losses[1] = second;
    kernels.endStep(2, losses.data(), 3, 8, state.data());
    kernels.sgdStep(1, 0.5f, 0, 0, gradient.data(), velocity.data(), parameter.data(), &state[0].diverged);
  };
  step(0.25);
  step(0.75);
  expect(state[0].lossSum == 3 * 0.75 + 3 * 1.25 && state[0].images == 6 && state[0].gradientImages == 16 && state[0].diverged == 0 && parameter[0] == 0,
         isa + " epoch adds its steps");
  step(HUGE_VAL);
  step(0.25);
  expect(state[0].lossSum == 6 && state[0].images == 6 && state[0].gradientImages == 24 && state[0].diverged == 1 && parameter[0] == 0,
         isa + " epoch stands still once it diverged");
}

// Everything but the convolutions, of one table.
inline void checkTrainKernels(const TrainKernels& kernels, const std::string& isa) {
  const LossWeights losses[] = {{1, 0, 0, 0, 1}, {1, 0.1f, 0, 0, 1}, {-1, 0, 0, 0, 1},       {0, 0, 1, 0, 1},
                                {0, 0, 0, 1, 4}, {0, 0, 0, -1, 2},   {0.5f, 0, 0, 0.25f, 4}, {1, 0.05f, -2, 0.5f, 0.5f}};
  for (const Size& s : kSizes) {
    for (bool poison : {false, true}) {
      checkStatistics(kernels, s, 0.3, poison, isa + " statistics " + s.name());
      for (bool relu : {false, true})
        for (bool batch : {false, true}) checkBatchNorm(kernels, s, relu, batch, poison, isa);
    }
    checkStatistics(kernels, s, 300, false, isa + " statistics far from zero " + s.name());
    checkPointwise(kernels, s, isa);
    checkGlobalPools(kernels, s, isa);
    for (const PoolShape& shape : pools)
      if (s.h + 2 * shape.pad >= shape.size && s.w + 2 * shape.pad >= shape.size) checkMaxPool(kernels, s, shape, isa);
  }
  for (int64_t n : {1, 3, 64})
    for (int64_t in : {1, 16, 33})
      for (int64_t out : {1, 2, 10, 17}) checkLinear(kernels, n, in, out, isa);
  for (const LossWeights& weights : losses)
    for (int64_t n : {1, 5})
      for (int64_t classes : {2, 10, 100})
        for (bool poison : {false, true})
          checkLoss(kernels, weights, n, classes, poison, isa + " loss of " + std::to_string(n) + "x" + std::to_string(classes));
  for (int64_t count : {1, 7, 8, 33, 1000}) checkOptimizers(kernels, count, isa), checkVectors(kernels, count, isa);
  checkEpoch(kernels, isa);
}

}  // namespace lethe::test
