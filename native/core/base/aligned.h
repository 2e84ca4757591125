// Vectors that start at a cache line: wide loads and stores of a kernel then never straddle two.
#pragma once
#include <cstddef>
#include <new>
#include <vector>

namespace lethe {

template <typename T>
struct LineAllocator {
  typedef T value_type;
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* at, size_t) { ::operator delete(at, std::align_val_t{64}); }
  template <typename U>
  bool operator==(const LineAllocator<U>&) const {
    return true;
  }
};

template <typename T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

}  // namespace lethe
