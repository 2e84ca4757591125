// Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): a draw depends only on (seed, purpose, model, counter),
// never on thread, order or restart. src/native/random.ts is the same generator for the TypeScript side.
#pragma once
#include <array>
#include <cstdint>

namespace lethe {

enum class Purpose : uint32_t {
  initialise = 1,
  shuffle = 2,
  subset = 3,
  holdout = 4,
  mask = 5,
  forgetSet = 6,
  synthetic = 7,
  bootstrap = 8,
  ridgeData = 9,
  minibatch = 10,
  augment = 11
};

class Random {
 public:
  Random(uint64_t seed, Purpose purpose, uint64_t model, uint32_t stream = 0);
  uint32_t next();            // uniform 32 bits
  uint32_t below(uint32_t n);  // uniform on [0, n), without modulo bias; n > 0
  double uniform();           // [0, 1) with 32 bits
  double normal();            // Box-Muller, one value a call

 private:
  void refill();
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace lethe
