#include "lethe/base/random.h"

#include <cmath>

namespace lethe {

Random::Random(uint64_t seed, Purpose purpose, uint64_t model, uint32_t stream)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32) ^ (static_cast<uint32_t>(purpose) * 0x9E3779B9u)},
      counter_{0, stream, static_cast<uint32_t>(model), static_cast<uint32_t>(model >> 32)} {}

void Random::refill() {
  std::array<uint32_t, 4> x = counter_;
  std::array<uint32_t, 2> k = key_;
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = 0xD2511F53ull * x[0];
    const uint64_t b = 0xCD9E8D57ull * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ k[0], static_cast<uint32_t>(b), static_cast<uint32_t>(a >> 32) ^ x[3] ^ k[1], static_cast<uint32_t>(a)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  block_ = x;
  ++counter_[0];
  used_ = 0;
}

uint32_t Random::next() {
  if (used_ == 4) refill();
  return block_[static_cast<size_t>(used_++)];
}

uint32_t Random::below(uint32_t n) {
  // Lemire's multiply-and-reject
  uint64_t product = static_cast<uint64_t>(next()) * n;
  if (static_cast<uint32_t>(product) < n) {
    const uint32_t threshold = (0u - n) % n;
    while (static_cast<uint32_t>(product) < threshold) product = static_cast<uint64_t>(next()) * n;
  }
  return static_cast<uint32_t>(product >> 32);
}

double Random::uniform() { return next() * 0x1p-32; }

double Random::normal() {
  const double u = (next() + 0.5) * 0x1p-32;
  const double v = next() * 0x1p-32;
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925 * v);
}

}  // namespace lethe
