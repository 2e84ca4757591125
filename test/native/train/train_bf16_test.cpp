// The kernels for bf16 images of every level against the double-precision reference, on inputs that are bf16 numbers: what may differ is
// the error of fp32 sums and one rounding of each result. And the conversion itself.
#include "train/train_bf16_check.h"

using namespace lethe;
using namespace lethe::test;

namespace {

// Every bf16 number is kept, numbers between two go to the nearer one, and ties to the even one.
void checkConversion() {
  bool kept = true, nearest = true;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint32_t word = bits << 16;
    float value;
    std::memcpy(&value, &word, 4);
    if (std::isnan(value)) {
      kept = kept && std::isnan(static_cast<float>(Bf16(value)));
      for (uint32_t low : {1u, 0x7FFFu, 0xFFFFu}) {
        const uint32_t other = word | low;
        std::memcpy(&value, &other, 4);
        kept = kept && std::isnan(static_cast<float>(Bf16(value)));
      }
      continue;
    }
    kept = kept && Bf16(value).bits == bits;
    if ((bits & 0x7F80) == 0x7F80) continue;  // infinite
    for (uint32_t low : {1u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      const uint32_t other = word | low, up = low > 0x8000 || (low == 0x8000 && bits % 2 == 1);
      std::memcpy(&value, &other, 4);
      nearest = nearest && Bf16(value).bits == bits + up;
    }
  }
  expect(kept, "bf16 numbers, infinities and NaN keep their value");
  expect(nearest, "rounding to nearest even, denormals and the step to infinity included");
}

// Weights that are no bf16 numbers are rounded first.
void checkWeightRounding(const ImageKernels<Bf16>& kernels, const std::string& isa) {
  const ConvShape shape{3, 5, 3, 1, 1};
  std::mt19937 random(9);
  const Tensor x = randomBf16(random, 2, 6, 5, 3);
  const Values weight = randomValues(random, 9 * 3 * 5);
  Values exact = weight;
  for (double& value : exact) value = rounded(value);
  Bf16Image fx(x, 1), y(2, 6, 5, 5, 0, kBorderMark);
  Guarded<float> fWeight = guarded(weight), scratch(kernels.convScratchFloats(shape, 6, 5));
  kernels.convForward(shape, fx.view, fWeight.data(), y.view, scratch.data());
  nearRounded(y.tensor().data, reference::convForward(shape, x, exact).data, reference::convForward(shape, absolute(x), absolute(exact)).data, 2e-6,
              isa + " bf16 weights are rounded");
}

}  // namespace

int main() {
  checkConversion();
  std::mt19937 random(2);
  const std::vector<ConvCase> table = convCases();
  std::vector<ConvExpected> expected;
  for (const ConvCase& one : table) expected.push_back(expectation(one, random, true));
  for (Isa isa : availableIsas()) {
    const ImageKernels<Bf16>& kernels = bf16Kernels(isa);
    const std::string name = isaName(isa);
    for (size_t k = 0; k < table.size(); ++k) checkConv(kernels, table[k], expected[k], name);
    checkWeightRounding(kernels, name);
    checkBf16Kernels(kernels, name);
  }
  return finish();
}
