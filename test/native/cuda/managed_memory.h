// Lets a test hand host memory to launchers, on the emulated GPU (whose memory is the host's) and on a real one. There, every operator new
// of the test's executable gives managed memory, which both sides may read and write, and launches block, so that results are there when a
// launcher returns. How to use it: include it in the one source of a test (it defines operator new), then
//
//   int main() {
//     if (withoutGpu()) return finish();
//     inThreadOrders([](int run) { ... });   // run: 0, then 1; require equal bytes of both
//   }
//
// Vectors, Guarded and ImageBuffer are then arguments of a launcher; arrays on the stack and static arrays are not.
#pragma once
#include <cstdlib>
#include <new>

#include "check.h"

#ifdef LETHE_EMULATE_CUDA
#include "cuda/gpu.h"
#else
#include <cuda_runtime_api.h>
#endif

namespace lethe::test {

#ifdef LETHE_EMULATE_CUDA

inline bool withoutGpu() { return false; }

// Threads and blocks run forwards, then backwards.
template <typename Body>
void inThreadOrders(Body body) {
  for (int run = 0; run < 2; ++run) {
    emulator::setThreadOrder(run == 1);
    body(run);
  }
  emulator::setThreadOrder(false);
}

#else

// Asked once, before the first allocation; the runtime's own allocations meanwhile are the host's.
inline bool managedMemoryIsThere() {
  static thread_local bool asking = false;
  if (asking) return false;
  asking = true;
  static const bool there = [] {
    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    int count = 0, concurrent = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return false;
    return cudaDeviceGetAttribute(&concurrent, cudaDevAttrConcurrentManagedAccess, 0) == cudaSuccess && concurrent == 1;
  }();
  asking = false;
  return there;
}

// Skips the test where there is no GPU whose memory the host may share.
inline bool withoutGpu() {
  if (managedMemoryIsThere()) return false;
  skip("no GPU with managed memory");
  return true;
}

template <typename Body>
void inThreadOrders(Body body) {
  for (int run = 0; run < 2; ++run) body(run);
}

// In front of every allocation: where it came from. As long as the largest alignment.
struct alignas(256) AllocationHeader {
  bool managed;
};

inline void* allocateShared(size_t bytes) {
  void* memory = nullptr;
  const bool managed = managedMemoryIsThere() && cudaMallocManaged(&memory, sizeof(AllocationHeader) + bytes, cudaMemAttachGlobal) == cudaSuccess;
  if (!managed) memory = std::aligned_alloc(sizeof(AllocationHeader), sizeof(AllocationHeader) * (2 + bytes / sizeof(AllocationHeader)));
  if (!memory) throw std::bad_alloc();
  return new (memory) AllocationHeader{managed} + 1;
}

inline void freeShared(void* at) {
  if (!at) return;
  AllocationHeader* header = static_cast<AllocationHeader*>(at) - 1;
  if (header->managed) {
    cudaFree(header);
  } else {
    std::free(header);
  }
}

#endif

}  // namespace lethe::test

#ifndef LETHE_EMULATE_CUDA
void* operator new(size_t bytes) { return lethe::test::allocateShared(bytes); }
void* operator new[](size_t bytes) { return lethe::test::allocateShared(bytes); }
void* operator new(size_t bytes, std::align_val_t) { return lethe::test::allocateShared(bytes); }
void* operator new[](size_t bytes, std::align_val_t) { return lethe::test::allocateShared(bytes); }
void operator delete(void* at) noexcept { lethe::test::freeShared(at); }
void operator delete[](void* at) noexcept { lethe::test::freeShared(at); }
void operator delete(void* at, size_t) noexcept { lethe::test::freeShared(at); }
void operator delete[](void* at, size_t) noexcept { lethe::test::freeShared(at); }
void operator delete(void* at, std::align_val_t) noexcept { lethe::test::freeShared(at); }
void operator delete[](void* at, std::align_val_t) noexcept { lethe::test::freeShared(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { lethe::test::freeShared(at); }
void operator delete[](void* at, size_t, std::align_val_t) noexcept { lethe::test::freeShared(at); }
#endif
