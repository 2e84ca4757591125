// A^T B on every instruction set against sums in double, at sizes around tiles and blocks, with values that are not finite.
#include "lethe/base/cross_product.h"

#include <limits>
#include <random>
#include <vector>

#include "base/check.h"
#include "lethe/base/parallel.h"

using namespace lethe;
using namespace lethe::test;

namespace {

struct Size {
  int64_t rows, a, b;
};
const Size kSizes[] = {{1, 1, 1}, {3, 5, 7}, {255, 6, 32}, {256, 7, 33}, {257, 241, 255}, {700, 13, 300}, {64, 500, 520}, {5, 0, 4}, {0, 3, 4}};

void againstDoubles(const Size& size, Isa isa) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  Guarded<float> a(size.rows * size.a), b(size.rows * size.b), single(size.a * size.b), many(size.a * size.b);
  for (int64_t i = 0; i < a.size(); ++i) a[i] = normal(random);
  for (int64_t i = 0; i < b.size(); ++i) b[i] = normal(random);
  const CrossProduct factors{a.data(), b.data(), size.rows, size.a, size.b};
  const bool ok = crossProduct(factors, isa, 1, single.data(), {}).ok() && crossProduct(factors, isa, 3, many.data(), {}).ok();
  int64_t wrong = 0, other = 0;
  for (int64_t i = 0; i < size.a; ++i) {
    for (int64_t j = 0; j < size.b; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t row = 0; row < size.rows; ++row) {
        const double term = static_cast<double>(a[row * size.a + i]) * static_cast<double>(b[row * size.b + j]);
        sum += term;
        magnitude += std::fabs(term);
      }
      wrong += !(std::fabs(single[i * size.b + j] - sum) <= 1e-5 * magnitude);
      other += std::memcmp(&single[i * size.b + j], &many[i * size.b + j], sizeof(float)) != 0;
    }
  }
  const std::string what = std::string(isaName(isa)) + " " + std::to_string(size.rows) + "x" + std::to_string(size.a) + "x" + std::to_string(size.b);
  expect(ok && wrong == 0, what + ": " + std::to_string(wrong) + " wrong");
  expect(other == 0, what + ": the same with three threads");
  expect(single.guardsIntact() && many.guardsIntact(), what + ": guards");
}

// A value that is not finite stays in its own row and column of the product.
void notFinite(Isa isa) {
  std::vector<float> a(10 * 20, 1.f), b(10 * 40, 1.f), product(20 * 40);
  a[3 * 20 + 4] = std::numeric_limits<float>::quiet_NaN();
  b[7 * 40 + 9] = std::numeric_limits<float>::infinity();
  expect(crossProduct({a.data(), b.data(), 10, 20, 40}, isa, 2, product.data(), {}).ok(), "not finite");
  int64_t wrong = 0;
  for (int64_t i = 0; i < 20; ++i) {
    for (int64_t j = 0; j < 40; ++j) {
      const float value = product[static_cast<size_t>(i * 40 + j)];
      wrong += i == 4 ? !std::isnan(value) : j == 9 ? !std::isinf(value) : value != 10.f;
    }
  }
  expect(wrong == 0, std::string(isaName(isa)) + ": not finite, " + std::to_string(wrong) + " wrong");
}

}  // namespace

int main() {
  for (Isa isa : availableIsas()) {
    for (const Size& size : kSizes) againstDoubles(size, isa);
    notFinite(isa);
  }
  std::atomic<int32_t> flag{1};
  float product = 0;
  const float one = 1;
  TaskControl control;
  control.abortFlag = &flag;
  expect(crossProduct({&one, &one, 1, 1, 1}, Isa::portable, 1, &product, control).code == "LETHE_TASK_ABORTED", "an abort is told");
  return finish();
}
