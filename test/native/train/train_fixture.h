// Buffers and comparisons shared by the tests of the training kernels.
#pragma once
#include <algorithm>
#include <random>

#include "base/check.h"
#include "reference/train/reference.h"

namespace lethe::test {

using reference::Tensor;
using reference::Values;

constexpr float kBorderMark = 7.25f;  // what output borders hold before and must hold after

// An image in guarded memory.
template <typename Value>
class ImageBuffer {
 public:
  ImageBuffer(int64_t n, int64_t h, int64_t w, int64_t c, int64_t border, float fill) : buffer_(size(n, h, w, c, border)), fill_(fill) {
    view = {buffer_.data(), n, h, w, c, border};
    buffer_.fill(fill);
  }
  ImageBuffer(const Tensor& t, int64_t border) : ImageBuffer(t.n, t.h, t.w, t.c, border, 0) {
    each([&](Value& value, int64_t k) { value = static_cast<float>(t.data[static_cast<size_t>(k)]); });
  }
  Tensor tensor() {
    Tensor t(view.n, view.h, view.w, view.c);
    each([&](Value& value, int64_t k) { t.data[static_cast<size_t>(k)] = value; });
    return t;
  }
  // Nothing outside the interior was written: neither the border nor the memory around the view.
  bool intact() {
    ImageBuffer expected(view.n, view.h, view.w, view.c, view.border, fill_);
    const Tensor inside = tensor();
    expected.each([&](Value& value, int64_t k) { value = static_cast<float>(inside.data[static_cast<size_t>(k)]); });
    return buffer_.guardsIntact() && std::memcmp(expected.buffer_.data(), buffer_.data(), static_cast<size_t>(view.size()) * sizeof(Value)) == 0;
  }
  ImageOf<Value> view;

 private:
  static int64_t size(int64_t n, int64_t h, int64_t w, int64_t c, int64_t border) { return n * (h + 2 * border) * (w + 2 * border) * c; }
  template <typename Body>
  void each(Body body) {
    int64_t k = 0;
    for (int64_t i = 0; i < view.n; ++i)
      for (int64_t y = 0; y < view.h; ++y)
        for (int64_t x = 0; x < view.w; ++x)
          for (int64_t c = 0; c < view.c; ++c) body(view.pixel(i, y, x)[c], k++);
  }
  Guarded<Value> buffer_;
  float fill_;
};
using Image = ImageBuffer<float>;

// Values that are exact in fp32, so that kernel and reference see the same inputs.
inline Values randomValues(std::mt19937& random, int64_t count, double offset = 0, double scale = 1) {
  std::normal_distribution<float> normal(static_cast<float>(offset), static_cast<float>(scale));
  Values values;
  for (int64_t k = 0; k < count; ++k) values.push_back(normal(random));
  return values;
}
inline Tensor randomTensor(std::mt19937& random, int64_t n, int64_t h, int64_t w, int64_t c, double offset = 0, double scale = 1) {
  Tensor t(n, h, w, c);
  t.data = randomValues(random, n * h * w * c, offset, scale);
  return t;
}
inline Values absolute(Values values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}
inline Tensor absolute(Tensor t) {
  t.data = absolute(t.data);
  return t;
}
inline Guarded<float> guarded(const Values& values) {
  Guarded<float> result(static_cast<int64_t>(values.size()));
  for (size_t k = 0; k < values.size(); ++k) result[static_cast<int64_t>(k)] = static_cast<float>(values[k]);
  return result;
}
inline Values values(Guarded<float>& from) { return Values(from.data(), from.data() + from.size()); }

// Of all results compared so far, in their order: equal runs have equal digests.
inline uint64_t digest = 14695981039346656037u;
inline void addToDigest(const Values& results) {
  for (const double result : results) {
    uint64_t bits;
    std::memcpy(&bits, &result, sizeof bits);
    digest = (digest ^ (std::isnan(result) ? 1 : bits)) * 1099511628211u;
  }
}

// |actual - expected| <= tolerance * scale elementwise, NaN exactly where expected; scale: sums of absolute terms.
inline bool near(const Values& actual, const Values& expected, const Values& scale, double tolerance, const std::string& what) {
  addToDigest(actual);
  double worst = 0;
  bool same = actual.size() == expected.size();
  for (size_t k = 0; same && k < expected.size(); ++k) {
    if (std::isnan(expected[k]) || std::isnan(actual[k])) {
      same = std::isnan(expected[k]) && std::isnan(actual[k]);
    } else {
      worst = std::max(worst, std::fabs(actual[k] - expected[k]) / (std::fabs(scale[k]) + 1e-30));
    }
  }
  return expect(same && worst <= tolerance,
                what + ": error " + std::to_string(worst / tolerance) + " of the tolerance" + (same ? "" : ", or NaN in other places"));
}
inline bool near(const Values& actual, const Values& expected, double tolerance, const std::string& what) {
  double top = 1e-30;
  for (double value : expected) top = std::isnan(value) ? top : std::max(top, std::fabs(value));
  return near(actual, expected, Values(expected.size(), top), tolerance, what);
}

// Runs body(table, name) for every instruction set that this processor has.
template <typename Body>
void eachIsa(Body body) {
  const std::vector<Isa> available = availableIsas();
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (std::find(available.begin(), available.end(), isa) == available.end()) {
      skip(std::string(isaName(isa)) + " is not available on this processor");
    } else {
      body(trainKernels(isa), std::string(isaName(isa)));
    }
  }
}

}  // namespace lethe::test
