// The GPU's convolutions of both precisions against the double-precision reference, on the cases of the CPU's and on some that fill more
// than one tile in every direction, with several parts of the weight gradient's sum. Two runs must agree in every byte.
#include "cuda/host_memory.h"

#include "train/bf16_check.h"

#define LETHE_JOIN_TEST_NAMES(name, isa) name##_##isa
#define LETHE_JOIN_TEST(name, isa) LETHE_JOIN_TEST_NAMES(name, isa)
#define LETHE_OF_TESTED(name) LETHE_JOIN_TEST(name, LETHE_ISA)

namespace lethe {
void LETHE_OF_TESTED(addConvKernels)(ImageKernels<float>&);
void LETHE_OF_TESTED(addConvWeightKernels)(ImageKernels<float>&);
void LETHE_OF_TESTED(addConvBf16Kernels)(ImageKernels<Bf16>&);
void LETHE_OF_TESTED(addConvWeightBf16Kernels)(ImageKernels<Bf16>&);
}  // namespace lethe

using namespace lethe;
using namespace lethe::test;

namespace {

std::vector<ConvCase> largeCases() {
  return {
      {{72, 136, 3, 1, 1}, 3, 9, 8, false},   // over one tile of pixels, channels and rows of the weights
      {{136, 72, 3, 1, 1}, 3, 8, 9, true},     {{144, 130, 1, 1, 0}, 2, 12, 11, false},  // pairs of results, no whole vectors
      {{130, 144, 1, 2, 0}, 2, 23, 21, false}, {{72, 136, 3, 2, 1}, 3, 17, 19, false},  // phases of different sizes
      {{40, 72, 5, 2, 2}, 3, 16, 17, false},   {{136, 136, 1, 2, 0}, 3, 17, 16, true},  // phases without taps
      {{8, 8, 3, 1, 1}, 40, 12, 12, false},    // many parts
      {{16, 24, 3, 3, 1}, 5, 20, 19, false},   {{3, 64, 3, 1, 1}, 4, 32, 32, false},    // the first layer of ResNet-9
  };
}

void near(const std::string& what, const Values& actual, const Values& expected, const Values& scale, float) {
  test::near(actual, expected, scale, 2e-6, what);
}
void near(const std::string& what, const Values& actual, const Values& expected, const Values& scale, Bf16) {
  nearRounded(actual, expected, scale, 2e-6, what);
}

template <typename Value>
bool sameBytes(ImageBuffer<Value>& a, ImageBuffer<Value>& b) {
  return std::memcmp(a.view.data, b.view.data, static_cast<size_t>(a.view.size()) * sizeof(Value)) == 0;
}

template <typename Value>
void check(const ImageKernels<Value>& kernels, const ConvCase& one, const ConvExpected& e, const std::string& precision) {
  const ConvShape& s = one.shape;
  const std::string name = precision + " " + one.name();
  const int64_t need = std::max<int64_t>(0, s.kernel - 1 - s.pad), extra = (one.n + one.h) % 2;  // the least border and a wider one
  ImageBuffer<Value> x(e.x, s.pad + extra), dy(e.dy, need + extra);
  std::vector<ImageBuffer<Value>> y, dx;
  std::vector<Guarded<float>> dWeight;
  Guarded<float> weight = guarded(e.weight);
  inThreadOrders([&](int run) {
    Guarded<float> scratch(kernels.convScratchFloats(s, one.h, one.w));
    const float dirt = run == 0 ? std::nanf("") : 5.0f;
    const size_t at = static_cast<size_t>(run);
    y.emplace_back(one.n, e.y.h, e.y.w, s.outChannels, 1, kBorderMark);
    dx.emplace_back(one.n, one.h, one.w, s.inChannels, 2, kBorderMark);
    dWeight.emplace_back(weight.size());
    scratch.fill(dirt);
    kernels.convForward(s, x.view, weight.data(), y[at].view, scratch.data());
    scratch.fill(dirt);
    kernels.convInputGradient(s, dy.view, weight.data(), dx[at].view, scratch.data());
    scratch.fill(dirt);
    kernels.convWeightGradient(s, x.view, dy.view, dWeight[at].data(), scratch.data());
    expect(scratch.guardsIntact(), name + " wrote behind scratch");
  });
  near(name + " forward", y[0].tensor().data, e.y.data, e.yScale.data, Value());
  near(name + " input gradient", dx[0].tensor().data, e.dx.data, e.dxScale.data, Value());
  test::near(values(dWeight[0]), e.dWeight, e.dWeightScale, 2e-6, name + " weight gradient");
  expect(y[0].intact() && dx[0].intact() && dWeight[0].guardsIntact(), name + " wrote outside");
  expect(x.intact() && dy.intact() && weight.guardsIntact(), name + " changed its inputs");
  expect(sameBytes(y[0], y[1]) && sameBytes(dx[0], dx[1]) && std::memcmp(dWeight[0].data(), dWeight[1].data(), static_cast<size_t>(weight.size()) * 4) == 0,
         name + " is not reproducible");
}

// Images at odd addresses take the element-wise path, with the same bytes.
void checkAlignment(const ImageKernels<Bf16>& kernels) {
  const ConvShape s{16, 24, 3, 1, 1};
  std::mt19937 random(5);
  const Tensor x = randomBf16(random, 2, 9, 8, 16);
  Guarded<float> weight = guarded(randomValues(random, 9 * 16 * 24)), scratch(kernels.convScratchFloats(s, 9, 8) + 1);
  Bf16Image aligned(x, 1), y(2, 9, 8, 24, 1, kBorderMark), other(2, 9, 8, 24, 1, kBorderMark);
  std::vector<Bf16> from(static_cast<size_t>(aligned.view.size() + 1)), to(static_cast<size_t>(y.view.size() + 1));
  ImageOf<Bf16> shiftedX = aligned.view, shiftedY = y.view;
  shiftedX.data = from.data() + 1;
  shiftedY.data = to.data() + 1;
  std::memcpy(shiftedX.data, aligned.view.data, static_cast<size_t>(aligned.view.size()) * 2);
  std::memcpy(shiftedY.data, y.view.data, static_cast<size_t>(y.view.size()) * 2);
  kernels.convForward(s, aligned.view, weight.data(), y.view, scratch.data());
  kernels.convForward(s, shiftedX, weight.data(), shiftedY, scratch.data() + 1);
  expect(std::memcmp(shiftedY.data, y.view.data, static_cast<size_t>(y.view.size()) * 2) == 0, "bf16 forward at odd addresses");
  Guarded<float> dWeight(weight.size()), again(weight.size());
  kernels.convWeightGradient(s, aligned.view, y.view, dWeight.data(), scratch.data());
  kernels.convWeightGradient(s, shiftedX, shiftedY, again.data(), scratch.data() + 1);
  expect(std::memcmp(dWeight.data(), again.data(), static_cast<size_t>(weight.size()) * 4) == 0, "bf16 weight gradient at odd addresses");
}

#if defined(LETHE_EMULATE_CUDA) && defined(__SANITIZE_THREAD__)
constexpr size_t kEvery = 40;
#elif defined(LETHE_EMULATE_CUDA)
constexpr size_t kEvery = 5;  // of the CPU's cases: emulation takes most of a second for some
#else
constexpr size_t kEvery = 1;
#endif

template <typename Value>
void checkAll(const ImageKernels<Value>& kernels, const std::string& precision) {
  std::mt19937 random(2);
  std::vector<ConvCase> table = largeCases();
  const std::vector<ConvCase> all = convCases();
  for (size_t k = 0; k < all.size(); k += kEvery) table.push_back(all[k]);
  for (const ConvCase& one : table) check(kernels, one, expectation(one, random, precision == "bf16"), precision);
}

}  // namespace

int main() {
  if (withoutGpu()) return finish();
  ImageKernels<float> fp32{};
  LETHE_OF_TESTED(addConvKernels)(fp32);
  LETHE_OF_TESTED(addConvWeightKernels)(fp32);
  ImageKernels<Bf16> bf16{};
  LETHE_OF_TESTED(addConvBf16Kernels)(bf16);
  LETHE_OF_TESTED(addConvWeightBf16Kernels)(bf16);
  checkAlignment(bf16);
  checkAll(bf16, "bf16");
  checkAll(fp32, "fp32");
  return finish();
}
