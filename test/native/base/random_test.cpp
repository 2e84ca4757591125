// The counter-based generator: Philox's published answer, and the table that test/native/random.test.ts holds the TypeScript twin to.
#include "lethe/base/random.h"

#include <cmath>

#include "base/check.h"

using lethe::Purpose;
using lethe::Random;
using lethe::test::expect;

int main() {
  // this seed cancels the purpose out of the key: key 0, counter 0
  Random zero(0x9E3779B9ull << 32, Purpose::initialise, 0);
  for (uint32_t word : {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}) expect(zero.next() == word, "Philox 4x32-10, key 0 and counter 0");

  Random random((1ull << 40) + 12345, Purpose::mask, (1ull << 33) + 7, 3);
  expect(random.next() == 3425157222u, "first word");
  expect(random.next() == 1895195052u, "second word");
  expect(random.below(10) == 4, "below 10");
  expect(random.below(1000003) == 416233, "below 1000003");
  expect(random.next() == 1426799673u, "first word of the second block");
  expect(random.next() == 1215849737u, "second word of the second block");
  expect(random.uniform() == 0.7375170579180121, "uniform");
  expect(std::fabs(random.normal() - 0.8598577558667169) < 1e-12, "normal");
  return lethe::test::finish();
}
