// The CPU as a place to train: host memory.
#include "lethe/train/backend.h"

#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "core/base/isa_table.h"

namespace lethe {

namespace {

constexpr int64_t kHugePage = 2 << 20;

void* allocate(int64_t bytes, uint8_t** data) {
  const size_t size = static_cast<size_t>((bytes + kHugePage - 1) / kHugePage * kHugePage);
  void* memory = std::aligned_alloc(kHugePage, size);
  if (!memory) throw std::bad_alloc();
  madvise(memory, size, MADV_HUGEPAGE);  // a hint: failure costs speed only
  std::memset(memory, 0, size);
  *data = static_cast<uint8_t*>(memory);
  return memory;
}

void copy(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

TrainBackend backendOf(Isa isa) {
  TrainBackend backend;
  backend.fp32 = &trainKernels(isa);
  backend.bf16 = &bf16Kernels(isa);
  backend.enter = [](int) -> void* { return nullptr; };
  backend.leave = [](void*) {};
  backend.freeBytes = [] { return INT64_MAX; };
  backend.allocate = allocate;
  backend.release = std::free;
  backend.upload = copy;
  backend.download = copy;
  backend.clear = [](void* memory, int64_t bytes) { std::memset(memory, 0, static_cast<size_t>(bytes)); };
  return backend;
}

}  // namespace

// Made when first asked for: even filling a table may take instructions of its level.
const TrainBackend& cpuBackend(Isa isa) {
  static std::array<std::once_flag, kNumIsas> made;
  static std::array<TrainBackend, kNumIsas> backends;
  const size_t level = static_cast<size_t>(isa);
  std::call_once(made[level], [&] { backends[level] = backendOf(isa); });
  return backends[level];
}

}  // namespace lethe
