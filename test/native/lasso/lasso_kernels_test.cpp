// Every kernel of the datamodel table, for every instruction set, against naive loops at odd sizes.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "base/check.h"
#include "lethe/base/random.h"
#include "lethe/lasso/kernels.h"

using namespace lethe;
using namespace lethe::test;

namespace {

// `count` values at `offset` bytes past a cache line, between guard words.
template <typename T>
class Placed {
 public:
  Placed(int64_t count, int64_t offset) : count_(count), bytes_(static_cast<size_t>(count) * sizeof(T) + 2 * kGuard + 128, kMark) {
    const auto start = reinterpret_cast<uintptr_t>(bytes_.data()) + kGuard;
    from_ = (start + 63) / 64 * 64 + static_cast<uintptr_t>(offset) - reinterpret_cast<uintptr_t>(bytes_.data());
    lockGuards(true);
  }
  T* data() { return reinterpret_cast<T*>(bytes_.data() + from_); }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) { return data()[i]; }
  bool intact() const {
    lockGuards(false);
    bool marked = true;
    for (size_t i = 0; i < bytes_.size(); ++i) marked = marked && ((from_ <= i && i < to()) || bytes_[i] == kMark);
    lockGuards(true);
    return marked;
  }

 private:
  size_t to() const { return from_ + static_cast<size_t>(count_) * sizeof(T); }
  void lockGuards(bool locked) const {
    lockBytes(bytes_.data(), from_, locked);
    lockBytes(bytes_.data() + to(), bytes_.size() - to(), locked);
  }

  static constexpr size_t kGuard = 192;
  static constexpr uint8_t kMark = 0xA5;
  int64_t count_;
  std::vector<uint8_t> bytes_;
  size_t from_ = 0;
};

// A random bit matrix in both layouts, 8-byte aligned as the contract asks, but not more.
struct Bits {
  int64_t rows, columns;
  Placed<uint64_t> byColumn, byBlock;

  Bits(int64_t r, int64_t n, Random& random) : rows(r), columns(n), byColumn(r / 64 * n, 8), byBlock(r / 64 * n, 8) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t b = 0; b < r / 64; ++b) {
        uint64_t word = uint64_t{random.next()} << 32 | random.next();
        if (j % 7 == 3) word = 0;
        if (j % 7 == 5) word = ~uint64_t{0};
        byColumn[j * (r / 64) + b] = byBlock[b * n + j] = word;
      }
    }
  }
  bool bit(int64_t i, int64_t j) { return byColumn[j * (rows / 64) + i / 64] >> (i % 64) & 1; }
  BitColumns columnsView() { return {reinterpret_cast<const uint8_t*>(byColumn.data()), rows, columns}; }
  BitBlocks blocksView() { return {byBlock.data(), columns}; }
};

std::string sizes(int64_t rows, int64_t n) { return std::string(" ").append(std::to_string(rows)).append("x").append(std::to_string(n)); }
std::string on(Isa isa) { return std::string(" ").append(isaName(isa)); }

// Values at the extremes wrap many times; the naive sum wraps the same way.
template <typename Element, typename Unsigned, typename Kernel>
void testSums(const std::string& name, Bits& x, int64_t rows, Kernel kernel, Random& random) {
  constexpr int64_t kLanes = kPassBytes / static_cast<int64_t>(sizeof(Element));
  const int64_t n = x.columns;
  Placed<Element> values(rows * kLanes, 0);
  for (int64_t k = 0; k < values.size(); ++k) {
    const uint32_t kind = random.below(8);
    const Unsigned top = static_cast<Unsigned>(Unsigned{1} << (8 * sizeof(Element) - 1));
    values[k] = static_cast<Element>(kind == 0 ? top : kind == 1 ? static_cast<Unsigned>(top - 1) : static_cast<Unsigned>(random.next()));
  }
  std::vector<Unsigned> expected(n * kLanes, 0);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      if (!x.bit(i, j)) continue;
      for (int64_t l = 0; l < kLanes; ++l) {
        expected[j * kLanes + l] = static_cast<Unsigned>(expected[j * kLanes + l] + static_cast<Unsigned>(values[i * kLanes + l]));
      }
    }
  }
  const std::vector<Element> before(values.data(), values.data() + values.size());
  for (Isa isa : availableIsas()) {
    Placed<Element> sums(n * kLanes, 0);
    Placed<uint8_t> tables(lassoKernels(isa).passScratchBytes(rows), 0);
    for (int64_t k = 0; k < sums.size(); ++k) sums[k] = 77;  // overwritten, not added to
    (lassoKernels(isa).*kernel)(x.blocksView(), rows, values.data(), sums.data(), tables.data());
    expect(std::memcmp(sums.data(), expected.data(), expected.size() * sizeof(Unsigned)) == 0, name + on(isa) + sizes(rows, n));
    expect(sums.intact() && tables.intact() && values.intact() && std::equal(before.begin(), before.end(), values.data()),
           name + " stays inside" + on(isa) + sizes(rows, n));
  }
}

void testScreen(int64_t n, Random& random) {
  for (int round = 0; round < 4; ++round) {
    Placed<int16_t> sums(n * kScreenLanes, 0), thresholds(kScreenLanes, 2);
    constexpr int16_t kSpecial[] = {-32768, -32767, -32766, -1, 0, 1, 32766, 32767};
    for (int64_t k = 0; k < sums.size(); ++k) {
      // few columns are hit in the first rounds, most in the last
      const bool special = random.below(round == 0 ? 4000 : round == 1 ? 300 : 3) == 0;
      sums[k] = special ? kSpecial[random.below(8)] : round == 3 ? static_cast<int16_t>(random.next()) : int16_t{0};
    }
    for (int64_t l = 0; l < kScreenLanes; ++l) {
      const uint32_t kind = random.below(4);
      thresholds[l] = kind == 0 ? int16_t{1} : kind == 1 ? int16_t{32767} : kind == 2 ? int16_t{2} : static_cast<int16_t>(1 + random.below(32767));
    }
    std::vector<ScreenHit> expected;
    for (int64_t j = 0; j < n; ++j) {
      uint32_t lanes = 0;
      for (int64_t l = 0; l < kScreenLanes; ++l) {
        if (std::abs(static_cast<int32_t>(sums[j * kScreenLanes + l])) >= thresholds[l]) lanes |= uint32_t{1} << l;
      }
      if (lanes) expected.push_back({static_cast<int32_t>(j), lanes});
    }
    for (Isa isa : availableIsas()) {
      Placed<ScreenHit> hits(n, 4);
      const int64_t count = lassoKernels(isa).screen(n, sums.data(), thresholds.data(), hits.data());
      bool equal = count == static_cast<int64_t>(expected.size());
      for (int64_t h = 0; equal && h < count; ++h) equal = hits[h].column == expected[h].column && hits[h].lanes == expected[h].lanes;
      expect(equal && hits.intact() && sums.intact() && thresholds.intact(), "screen" + on(isa) + sizes(round, n));
    }
  }
}

// Bit equal to the scalar loop: the order of the sum is part of the contract.
template <typename Real, typename Kernel>
void testResidual(const std::string& name, Bits& x, Kernel kernel, Random& random) {
  const int64_t rows = x.rows, count = std::min<int64_t>(x.columns, 37), from = rows > 128 ? 64 : 0, to = rows > 256 ? rows - 64 : rows;
  for (int64_t used : {int64_t{0}, count}) {
    Placed<Real> target(rows, sizeof(Real)), weight(used, sizeof(Real));
    Placed<int32_t> list(used, 4);
    for (int64_t i = 0; i < rows; ++i) target[i] = static_cast<Real>(random.normal());
    target[from + 1] = static_cast<Real>(NAN);  // stays in its row
    for (int64_t k = 0; k < used; ++k) {
      list[k] = static_cast<int32_t>(random.below(static_cast<uint32_t>(x.columns)));
      weight[k] = static_cast<Real>(random.normal() * (k % 5 == 0 ? 1e6 : 1));
    }
    for (Isa isa : availableIsas()) {
      Placed<Real> result(rows, sizeof(Real));
      for (int64_t i = 0; i < rows; ++i) result[i] = -1;
      (lassoKernels(isa).*kernel)(x.columnsView(), from, to, target.data(), used, list.data(), weight.data(), result.data());
      bool equal = true;
      for (int64_t i = 0; i < rows; ++i) {
        Real expected = target[i];
        for (int64_t k = 0; k < used; ++k) expected -= x.bit(i, list[k]) ? weight[k] : Real{0};
        if (i < from || i >= to) expected = -1;
        equal = equal && (std::isnan(expected) ? std::isnan(result[i]) : result[i] == expected);
      }
      expect(equal && result.intact() && target.intact() && weight.intact() && list.intact(), name + on(isa) + sizes(rows, x.columns));
    }
  }
}

void testPairCounts(Bits& x, Random& random) {
  const int64_t words = x.rows / 64, count = x.columns + 3;
  Placed<uint64_t> own(words, 8);
  Placed<int32_t> list(count, 4);
  for (int64_t w = 0; w < words; ++w) own[w] = w == 0 ? ~uint64_t{0} : uint64_t{random.next()} << 32 | random.next();
  for (int64_t k = 0; k < count; ++k) list[k] = static_cast<int32_t>(random.below(static_cast<uint32_t>(x.columns)));
  for (Isa isa : availableIsas()) {
    Placed<int32_t> counts(count, 4);
    lassoKernels(isa).pairCounts(x.columnsView(), own.data(), list.data(), count, counts.data());
    bool equal = true;
    for (int64_t k = 0; k < count; ++k) {
      int32_t both = 0;
      for (int64_t i = 0; i < x.rows; ++i) both += x.bit(i, list[k]) && (own[i / 64] >> (i % 64) & 1);
      equal = equal && both == counts[k];
    }
    expect(equal && counts.intact() && list.intact() && own.intact(), "pairCounts" + on(isa) + sizes(x.rows, x.columns));
  }
}

// A working set of `used` features padded to 16, with garbage between its size and its stride.
template <typename Entry>
struct Set {
  int64_t used, size, stride;
  Placed<Entry> gram;
  Placed<float> diagonal, inverse, phi, psi;
  Placed<double> penalty;
  std::vector<double> h;  // (size, size) H as the contract defines it

  Set(int64_t features, Random& random)
      : used(features),
        size((features + 15) / 16 * 16),
        stride(size + 16),
        gram(size * stride, sizeof(Entry)),
        diagonal(size, 4),
        inverse(size, 4),
        phi(size, 4),
        psi(size, 4),
        penalty(size, 8),
        h(size * size) {
    const Entry low = std::numeric_limits<Entry>::min(), high = std::numeric_limits<Entry>::max();
    const auto entry = [&] {
      const uint32_t kind = random.below(16);
      return kind == 0 ? low : kind == 1 ? high : static_cast<Entry>(std::clamp<double>(random.normal() * high / 4, low, high));
    };
    std::fill(gram.data(), gram.data() + gram.size(), high);
    for (int64_t p = 0; p < size; ++p) {
      for (int64_t q = 0; q <= p; ++q) gram[p * stride + q] = gram[q * stride + p] = p == q ? Entry{0} : entry();
      // powers of two, so that `inverse` is exact, and large enough for a sweep to be tame
      diagonal[p] = static_cast<float>(uint32_t{64} * (static_cast<uint32_t>(high) + 1) << random.below(3));
      inverse[p] = 1 / diagonal[p];
      phi[p] = static_cast<float>(random.uniform() - 0.5);
      psi[p] = static_cast<float>(3 * random.normal());
      penalty[p] = static_cast<double>(high) * (p % 5 == 0 ? 3.0 : 0.3);
    }
    for (int64_t p = 0; p < size; ++p) {
      for (int64_t q = 0; q < size; ++q) {
        const double product = static_cast<double>(psi[p]) * static_cast<double>(psi[q]);
        h[p * size + q] =
            p == q ? static_cast<double>(diagonal[p]) : gram[p * stride + q] + static_cast<double>(phi[p]) + static_cast<double>(phi[q]) - product;
      }
    }
  }
  DescentSet<Entry> view() { return {size, stride, gram.data(), diagonal.data(), inverse.data(), phi.data(), psi.data(), penalty.data()}; }
  bool intact() const { return gram.intact() && diagonal.intact() && inverse.intact() && phi.intact() && psi.intact() && penalty.intact(); }
};

template <typename Entry, typename Kernel>
void testProducts(const std::string& name, Set<Entry>& set, Kernel kernel, Random& random) {
  Placed<float> weight(set.size, 4);
  double total = 0;
  for (int64_t q = 0; q < set.size; ++q) total += std::fabs(static_cast<double>(weight[q] = q < set.used ? static_cast<float>(random.normal()) : 0.0f));
  const double most = 64.0 * std::numeric_limits<Entry>::max() * 8;
  const int64_t cuts[] = {0, set.used / 3, set.used, set.size};
  for (Isa isa : availableIsas()) {
    for (int64_t from : cuts) {
      for (int64_t to : cuts) {
        if (from >= to) continue;
        Placed<float> result(to - from, 4);
        (lassoKernels(isa).*kernel)(set.view(), from, to, weight.data(), result.data());
        double error = 0;
        for (int64_t p = from; p < to; ++p) {
          double sum = 0;
          for (int64_t q = 0; q < set.size; ++q) sum += set.h[p * set.size + q] * static_cast<double>(weight[q]);
          error = std::max(error, std::fabs(sum - static_cast<double>(result[p - from])));
        }
        expect(error <= 1e-6 * most * (1 + total) && result.intact() && set.intact() && weight.intact(),
               name + on(isa) + sizes(from, to) + " of " + std::to_string(set.used) + ", error " + std::to_string(error));
      }
    }
  }
}

// One sweep against the same sweep on H in double. tolerance: relative to the largest gradient.
template <typename Real, typename Entry, typename Kernel>
void testDescend(const std::string& name, Set<Entry>& set, Kernel kernel, double tolerance, Random& random) {
  const double high = std::numeric_limits<Entry>::max();
  std::vector<double> g(set.size), w(set.size, 0.0);
  for (int64_t p = 0; p < set.size; ++p) {
    g[p] = static_cast<double>(static_cast<Real>(2 * high * random.normal()));
    // kept, turned to zero, or moved to the other side
    if (p < set.used && random.below(2)) w[p] = 0.02 * random.normal();
  }
  std::vector<int32_t> all, some;
  for (int64_t p = 0; p < set.used; ++p) all.push_back(static_cast<int32_t>(p));
  for (int64_t p = set.used - 1; p >= 0; p -= 1 + p % 3) some.push_back(static_cast<int32_t>(p));
  for (const std::vector<int32_t>& positions : {all, some}) {
    std::vector<double> after = w, gradient = g;
    std::vector<bool> surelyZero(set.size, false);
    double largest = 0, scale = 0;
    for (int32_t p : positions) {
      const double square = set.h[p * set.size + p], pull = gradient[p] + square * after[p], penalty = set.penalty[p];
      const double next = std::copysign(std::max(std::fabs(pull) - penalty, 0.0), pull) / square, change = next - after[p];
      surelyZero[p] = std::fabs(pull) < 0.99 * penalty;
      for (int64_t q = 0; q < set.size; ++q) gradient[q] -= change * set.h[q * set.size + p];
      after[p] = next;
      largest = std::max(largest, std::fabs(change) * square / penalty);
    }
    for (double value : gradient) scale = std::max(scale, std::fabs(value));
    for (Isa isa : availableIsas()) {
      Placed<Real> mine(set.size, sizeof(Real));
      Placed<double> weight(set.size, 8);
      std::copy(w.begin(), w.end(), weight.data());
      for (int64_t p = 0; p < set.size; ++p) mine[p] = static_cast<Real>(g[p]);
      const Real moved = (lassoKernels(isa).*kernel)(set.view(), static_cast<int64_t>(positions.size()), positions.data(), mine.data(), weight.data());
      double error = std::fabs(static_cast<double>(moved) - largest) / largest, offset = 0;
      bool zeros = true;
      for (int64_t p = 0; p < set.size; ++p) {
        offset = std::max(offset, std::fabs(gradient[p] - static_cast<double>(mine[p])) / scale);
        offset = std::max(offset, std::fabs(after[p] - weight[p]) * set.h[p * set.size + p] / scale);
        zeros = zeros && (!surelyZero[p] || weight[p] == 0);
      }
      error = std::max(error, offset);
      expect(error <= tolerance && zeros && mine.intact() && weight.intact() && set.intact(),
             name + on(isa) + sizes(static_cast<int64_t>(positions.size()), set.used) + ", error " + std::to_string(error));
    }
  }
}

template <typename Entry>
void testSet(int64_t used, Random& random) {
  Set<Entry> set(used, random);
  if constexpr (sizeof(Entry) == 1) {
    testProducts("products8", set, &LassoKernels::products8, random);
    testDescend<float>("descend8", set, &LassoKernels::descend8, 1e-5, random);
    testDescend<double>("descendPrecise8", set, &LassoKernels::descendPrecise8, 1e-13, random);
  } else {
    testProducts("products16", set, &LassoKernels::products16, random);
    testDescend<float>("descend16", set, &LassoKernels::descend16, 1e-5, random);
    testDescend<double>("descendPrecise16", set, &LassoKernels::descendPrecise16, 1e-13, random);
  }
}

}  // namespace

int main() {
  Random random(7, Purpose::synthetic, 0);
  for (int64_t rows : {64, 320, 704}) {
    for (int64_t n : {1, 31, 257, 1100}) {
      Bits x(rows, n, random);
      for (int64_t used : {rows, rows / 128 * 64}) {  // a pass may leave out the last rows
        if (used == 0) continue;
        testSums<int32_t, uint32_t>("exactSums", x, used, &LassoKernels::exactSums, random);
        testSums<int16_t, uint16_t>("screenSums", x, used, &LassoKernels::screenSums, random);
      }
      testResidual<double>("residual", x, &LassoKernels::residual, random);
      testResidual<float>("residualFloat", x, &LassoKernels::residualFloat, random);
      testPairCounts(x, random);
    }
  }
  Bits wide(128, 4099, random);  // more columns than any tile
  testSums<int32_t, uint32_t>("exactSums", wide, 128, &LassoKernels::exactSums, random);
  testSums<int16_t, uint16_t>("screenSums", wide, 128, &LassoKernels::screenSums, random);
  for (int64_t n : {1, 31, 257, 1100}) testScreen(n, random);
  for (int64_t used : {1, 16, 31, 257}) {
    testSet<int8_t>(used, random);
    testSet<int16_t>(used, random);
  }
  for (Isa isa : {Isa::avx2, Isa::avx512}) {
    const std::vector<Isa> available = availableIsas();
    if (std::find(available.begin(), available.end(), isa) == available.end()) skip(std::string(isaName(isa)) + " is not available here");
  }
  return finish();
}
