// Lets a test hand host memory to launchers, on the emulated GPU (whose memory is the host's) and on a real one. There, every operator new
// of the test's executable gives page-locked memory, which kernels read and write at the same addresses, and launches block, so that results are there
// when a launcher returns. How to use it: include it in the one source of a test (it defines operator new), then
//
//   int main() {
//     if (withoutGpu()) return finish();
//     inThreadOrders([](int run) { ... });   // run: 0, then 1; require equal bytes of both
//   }
//
// Vectors, Guarded and ImageBuffer are then arguments of a launcher; arrays on the stack and static arrays are not.
#pragma once
#include <cstdlib>
#include <mutex>
#include <new>

#include "base/check.h"

#ifdef LETHE_EMULATE_CUDA
#include "cuda/base/compiler.h"
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

constexpr size_t kHostBytes = size_t{1} << 30;

// kHostBytes that the GPU may use; null where there is no GPU that can. Asked once, before the first allocation; what the runtime itself allocates
// meanwhile is ordinary memory.
inline uint8_t* pageLocked() {
  static thread_local bool asking = false;
  if (asking) return nullptr;
  asking = true;
  static uint8_t* const memory = []() -> uint8_t* {
    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    int count = 0;
    void *host = nullptr, *device = nullptr;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return nullptr;
    if (cudaHostAlloc(&host, kHostBytes, cudaHostAllocMapped | cudaHostAllocPortable) != cudaSuccess) return nullptr;
    return cudaHostGetDevicePointer(&device, host, 0) == cudaSuccess && device == host ? static_cast<uint8_t*>(host) : nullptr;
  }();
  asking = false;
  return memory;
}

// Skips the test where there is no GPU that reads the host's memory.
inline bool withoutGpu() {
  if (pageLocked()) return false;
  skip("no GPU that reads the host's memory");
  return true;
}

template <typename Body>
void inThreadOrders(Body body) {
  for (int run = 0; run < 2; ++run) body(run);
}

// Pieces of the page-locked memory, powers of two; those given back are kept by size. In front of each: its size and what follows in the list.
class Pieces {
 public:
  void* take(size_t bytes) {
    int size = 9;
    while ((size_t{1} << size) < bytes + sizeof(Header)) ++size;
    const std::lock_guard<std::mutex> lock(mutex_);
    Header* piece = free_[size];
    if (piece) {
      free_[size] = piece->next;
    } else {
      if (used_ + (size_t{1} << size) > kHostBytes) throw std::bad_alloc();
      piece = reinterpret_cast<Header*>(pageLocked() + used_);
      used_ += size_t{1} << size;
    }
    piece->size = size;
    return piece + 1;
  }
  void give(void* at) {
    Header* piece = static_cast<Header*>(at) - 1;
    const std::lock_guard<std::mutex> lock(mutex_);
    piece->next = free_[piece->size];
    free_[piece->size] = piece;
  }

 private:
  struct alignas(256) Header {
    int size;
    Header* next;
  };
  std::mutex mutex_;
  Header* free_[64] = {};
  size_t used_ = 0;
};
inline constinit Pieces pieces;

inline void* allocateShared(size_t bytes) {
  if (pageLocked()) return pieces.take(bytes);
  void* memory = std::aligned_alloc(256, 256 * (1 + bytes / 256));
  if (!memory) throw std::bad_alloc();
  return memory;
}

inline void freeShared(void* at) {
  if (!at) return;
  uint8_t* const from = pageLocked();
  if (from && at >= from && at < from + kHostBytes) pieces.give(at);
  else std::free(at);
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
