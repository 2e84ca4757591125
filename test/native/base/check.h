// A small test harness for the native op tests: counts checks, prints "N passed, N failed", guards buffers against overruns.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace lethe::test {

inline int passed = 0, failed = 0, skipped = 0;

inline bool expect(bool condition, const std::string& what) {
  if (condition) {
    ++passed;
  } else {
    ++failed;
    std::printf("FAILED: %s\n", what.c_str());
  }
  return condition;
}

inline void skip(const std::string& what) {
  ++skipped;
  std::printf("skipped: %s\n", what.c_str());
}

// AddressSanitizer, where it is on, stops at every access to locked bytes.
inline void lockBytes([[maybe_unused]] const uint8_t* from, [[maybe_unused]] size_t count, [[maybe_unused]] bool locked) {
#ifdef __SANITIZE_ADDRESS__
  if (locked) __asan_poison_memory_region(from, count);
  else __asan_unpoison_memory_region(from, count);
#endif
}

// A buffer with guard words on both sides; guardsIntact() is false once somebody wrote outside. They are locked.
template <typename T>
class Guarded {
 public:
  explicit Guarded(int64_t count) : count_(count), storage_(static_cast<size_t>(count) * sizeof(T) + 2 * kGuard, 0xA5) { lockGuards(true); }
  T* data() { return reinterpret_cast<T*>(storage_.data() + kGuard); }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) { return data()[i]; }
  void fill(T value) {
    for (int64_t i = 0; i < count_; ++i) data()[i] = value;
  }
  bool guardsIntact() const {
    lockGuards(false);
    bool intact = true;
    for (size_t i = 0; i < kGuard; ++i) intact = intact && storage_[i] == 0xA5 && storage_[storage_.size() - 1 - i] == 0xA5;
    lockGuards(true);
    return intact;
  }

 private:
  void lockGuards(bool locked) const {
    lockBytes(storage_.data(), kGuard, locked);
    lockBytes(storage_.data() + storage_.size() - kGuard, kGuard, locked);
  }

  static constexpr size_t kGuard = 256;
  int64_t count_;
  std::vector<uint8_t> storage_;
};

inline int finish() {
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed == 0 ? 0 : 1;
}

}  // namespace lethe::test
