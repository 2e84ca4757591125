// Residuals, their correlations with bit columns, and the memory of working sets, each against plain arithmetic.
#include <cmath>
#include <random>
#include <vector>

#include "base/check.h"
#include "cuda/lasso/gpu.h"
#include "cuda/lasso/memory.h"

using namespace lethe;
using namespace lethe::test;
using namespace lethe::lasso;

namespace {

template <typename T>
DeviceMemory onDevice(const std::vector<T>& values) {
  DeviceMemory memory(static_cast<int64_t>(values.size() * sizeof(T)));
  upload(memory.data(), values.data(), memory.bytes());
  return memory;
}

// Correlations of `targets` random residuals with n columns of m models, guard values around them. Returns them with the guards.
std::vector<double> checkCorrelations(int64_t m, int64_t n, int64_t targets, int limbs) {
  constexpr int64_t kGuard = 64;
  std::mt19937 random(static_cast<unsigned>(m * 31 + n * 7 + targets));
  const int64_t words = (m + 127) / 128 * 4, rows = words * 32;
  std::vector<uint32_t> bits(static_cast<size_t>(n * words), 0);
  std::vector<int32_t> seen(static_cast<size_t>(n), 0);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < m; ++i) {
      const uint32_t bit = random() % 2;
      bits[static_cast<size_t>(j * words + i / 32)] |= bit << (i % 32);
      seen[static_cast<size_t>(j)] += static_cast<int32_t>(bit);
    }
  }
  std::vector<int8_t> digits(static_cast<size_t>(targets * kMaxLimbs * rows), 77);  // what no limb of the product is, must not matter
  std::vector<int64_t> whole(static_cast<size_t>(targets * m)), total(static_cast<size_t>(targets), 0);
  std::vector<double> unit(static_cast<size_t>(targets));
  std::vector<Command> commands(static_cast<size_t>(targets));
  for (int64_t t = 0; t < targets; ++t) {
    unit[static_cast<size_t>(t)] = std::ldexp(1.0, static_cast<int>(t % 5) - 20);
    commands[static_cast<size_t>(t)].lane = static_cast<int32_t>(t);
    commands[static_cast<size_t>(t)].count = static_cast<int32_t>(m);
    for (int64_t row = 0; row < rows; ++row) {
      int64_t value = 0;
      for (int limb = 0; limb < limbs; ++limb) {
        const int8_t digit = row < m ? static_cast<int8_t>(random()) : int8_t{0};
        digits[static_cast<size_t>((t * kMaxLimbs + limb) * rows + row / 32 * 32 + 4 * (row % 8) + row % 32 / 8)] = digit;
        value += static_cast<int64_t>(digit) << (8 * limb);
      }
      if (row < m) whole[static_cast<size_t>(t * m + row)] = value;
      total[static_cast<size_t>(t)] += value;
    }
  }
  const DeviceMemory dBits = onDevice(bits), dSeen = onDevice(seen), dDigits = onDevice(digits), dUnit = onDevice(unit), dTotal = onDevice(total),
                     dCommands = onDevice(commands);
  std::vector<double> result(static_cast<size_t>(targets * n + 2 * kGuard), -5.5);
  const DeviceMemory dResult = onDevice(result);
  DesignView design;
  design.bits = static_cast<const uint32_t*>(dBits.data());
  design.seen = static_cast<const int32_t*>(dSeen.data());
  design.columns = n;
  design.words = words;
  SlotsView slots;
  slots.limbs = static_cast<int8_t*>(dDigits.data());
  slots.unit = static_cast<double*>(dUnit.data());
  slots.total = static_cast<int64_t*>(dTotal.data());
  slots.correlation = static_cast<double*>(dResult.data()) + kGuard;
  correlate(design, slots, static_cast<const Command*>(dCommands.data()), 0, targets, limbs);
  download(result.data(), dResult.data(), dResult.bytes());
  bool exact = true, guards = true;
  for (int64_t t = 0; t < targets; ++t) {
    for (int64_t j = 0; j < n; ++j) {
      int64_t sum = 0;
      for (int64_t i = 0; i < m; ++i) {
        if (bits[static_cast<size_t>(j * words + i / 32)] >> (i % 32) & 1) sum += whole[static_cast<size_t>(t * m + i)];
      }
      const double share = static_cast<double>(total[static_cast<size_t>(t)]) / static_cast<double>(m);
      const double expected = unit[static_cast<size_t>(t)] * (static_cast<double>(sum) - share * seen[static_cast<size_t>(j)]);
      const double bound = 1e-15 * unit[static_cast<size_t>(t)] * std::ldexp(static_cast<double>(m), 8 * limbs);
      exact = exact && std::fabs(result[static_cast<size_t>(kGuard + t * n + j)] - expected) <= bound;
    }
  }
  for (int64_t k = 0; k < kGuard; ++k) guards = guards && result[static_cast<size_t>(k)] == -5.5 && result[result.size() - 1 - static_cast<size_t>(k)] == -5.5;
  const std::string shape =
      std::to_string(m) + " models, " + std::to_string(n) + " columns, " + std::to_string(targets) + " targets, " + std::to_string(limbs) + " limbs";
  expect(exact, "correlations are those of whole numbers: " + shape);
  expect(guards, "nothing is written beside the correlations: " + shape);
  return result;
}

// Pairs of all columns of `density` bits on some of the rows, and the words beside the table.
void checkPairs(int64_t m, int64_t n, uint32_t density) {
  constexpr size_t kGuard = 128;
  std::mt19937 random(static_cast<unsigned>(m * 31 + n));
  DesignView design;
  design.columns = n;
  design.words = (m + 127) / 128 * 4;
  design.pairStride = (n + kPairTile - 1) / kPairTile * kPairTile;
  std::vector<uint32_t> bits(static_cast<size_t>(n * design.words), 0), inside(static_cast<size_t>(2 * design.words), 0);
  for (int64_t i = 0; i < m; ++i) {
    if (density == 256 || random() % 5 != 0) inside[static_cast<size_t>(design.words + i / 32)] |= 1u << (i % 32);
    for (int64_t j = 0; j < n; ++j) bits[static_cast<size_t>(j * design.words + i / 32)] |= static_cast<uint32_t>(random() % 256 < density) << (i % 32);
  }
  std::vector<uint16_t> pairs(static_cast<size_t>(n * design.pairStride) + 2 * kGuard, 4711);
  const DeviceMemory dBits = onDevice(bits), dInside = onDevice(inside), dPairs = onDevice(pairs);
  design.bits = static_cast<const uint32_t*>(dBits.data());
  design.rowSetRows = static_cast<const uint32_t*>(dInside.data());
  countAllPairs(design, 1, static_cast<uint16_t*>(dPairs.data()) + kGuard);
  download(pairs.data(), dPairs.data(), dPairs.bytes());
  bool exact = true, guards = true;
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t k = 0; k < n; ++k) {
      int count = 0;
      for (int64_t w = 0; w < design.words; ++w) {
        count += __builtin_popcount(bits[static_cast<size_t>(j * design.words + w)] & bits[static_cast<size_t>(k * design.words + w)] &
                                    inside[static_cast<size_t>(design.words + w)]);
      }
      exact = exact && pairs[kGuard + static_cast<size_t>(j * design.pairStride + k)] == static_cast<uint16_t>(count);
    }
  }
  for (size_t k = 0; k < kGuard; ++k) guards = guards && pairs[k] == 4711 && pairs[pairs.size() - 1 - k] == 4711;
  const std::string shape = std::to_string(m) + " models, " + std::to_string(n) + " columns";
  expect(exact, "pairs are those of the bits: " + shape);
  expect(guards, "nothing is written beside the pairs: " + shape);
}

void checkMemory() {
  Pieces pieces(1024);
  const int64_t a = pieces.take(200), b = pieces.take(256), c = pieces.take(512);
  expect(a == 0 && b == 256 && c == 512 && pieces.take(1) == -1, "pieces follow each other until the memory is full");
  pieces.give(a, 200);
  pieces.give(c, 512);
  expect(pieces.take(600) == -1, "pieces that are apart do not merge");
  pieces.give(b, 256);
  expect(pieces.take(1024) == 0, "free neighbours merge");
  expect(capacityFor(65, 1000) == 128 && capacityFor(900, 1000) == 1008 && capacityFor(1, 10) == 16, "capacities are powers of two up to all columns");
  bool roomForOne = true;
  for (int64_t budget = 100; budget < 4000; budget += 7) {
    const MemoryPlan plan = planMemory(budget, 90, 3, 1100, 5, 4);
    const bool enough = budget >= 90 + 3 + 1100;
    const bool room = plan.slots >= 1 && plan.slots <= 4 && 90 + plan.slots * 3 + plan.piecesBytes <= budget && plan.piecesBytes >= 1024;
    roomForOne = roomForOne && (enough ? room : plan.slots == 0);
  }
  expect(roomForOne, "a plan has room for one target at least, or says that there is none");
  const MemoryPlan small = planMemory(1000, 500, 300, 300, 10, 4), large = planMemory(100000, 500, 300, 300, 10, 4);
  expect(small.slots == 0 && small.neededBytes == 1100, "too little memory says how much is needed");
  expect(large.slots == 4 && large.piecesBytes + 4 * 300 + 500 <= 100000, "slots and pieces stay within the budget");
}

}  // namespace

int main() {
  checkMemory();
  if (deviceCount() == 0) {
    skip("no GPU");
    return finish();
  }
  const int64_t shapes[][3] = {{1, 1, 1}, {31, 257, 1}, {257, 31, 65}, {520, 129, 33}};
  for (const auto& [m, n, t] : shapes) {
    for (int limbs : {kPathLimbs, kExactLimbs}) {
      const std::vector<double> result = checkCorrelations(m, n, t, limbs);
#ifdef LETHE_EMULATE_CUDA
      emulator::setThreadOrder(true);
      expect(checkCorrelations(m, n, t, limbs) == result, "the order of threads does not matter");
      emulator::setThreadOrder(false);
#endif
    }
  }
  checkPairs(1, 1, 128);
  checkPairs(129, 65, 128);
  checkPairs(1100, 130, 200);
  checkPairs(65536, 3, 255);
  checkPairs(65536, 3, 256);  // more than 16 bits hold
  return finish();
}
