// The tile kernels of bf16 convolutions: on emulated tiles everywhere, after the emulated dot product against one computed by hand. Where
// the processor has tiles, train_bf16_test runs them on these.
#define LETHE_EMULATE_TILES
#include "cpu/base/amx/tiles.h"

#include <algorithm>

#include "train/bf16_check.h"

namespace lethe {
void addConvBf16Kernels_amx_emulated(ImageKernels<Bf16>& table);
void addConvWeightBf16Kernels_amx_emulated(ImageKernels<Bf16>& table);
}  // namespace lethe

using namespace lethe;
using namespace lethe::test;

namespace {

void productByHand() {
  TileConfig config;  // 2 x 3 sums over 4 numbers
  std::fill(config.rows, config.rows + 8, uint8_t{2});
  std::fill(config.rowBytes, config.rowBytes + 8, uint16_t{12});
  config.rowBytes[1] = 8;
  const Bf16 a[2][4] = {{1, 2, -3, 0.5f}, {0, 1, 4, -1}};
  const Bf16 b[2][6] = {{1, 2, 3, 4, 5, 6}, {-1, 8, 0.25f, 2, 100, 0}};
  const float start[2][3] = {{10, 0, -1}, {0, 0.5f, 0}};
  // row 0: 10 + 1 + 4 + 3 + 4, 0 + 3 + 8 - 0.75 + 1, -1 + 5 + 12 - 300 + 0; row 1: 2 - 4 - 8, 0.5 + 4 + 1 - 2, 6 + 400
  const float expected[2][3] = {{22, 11.25f, -284}, {-10, 3.5f, 406}};
  float sums[2][3];
  TileUnit unit(config);
  unit.load<0>(start, 12);
  unit.load<1>(a, 8);
  unit.load<2>(b, 12);
  unit.dotBf16<0, 1, 2>();
  unit.store<0>(sums, 12);
  expect(std::memcmp(sums, expected, sizeof sums) == 0, "tdpbf16ps of 2 x 3 sums");
}

}  // namespace

int main() {
  productByHand();
  ImageKernels<Bf16> kernels{};
  addConvBf16Kernels_amx_emulated(kernels);
  addConvWeightBf16Kernels_amx_emulated(kernels);
  std::mt19937 random(2);
  for (const ConvCase& one : convCases()) checkConv(kernels, one, expectation(one, random, true), "emulated amx");
  return finish();
}
