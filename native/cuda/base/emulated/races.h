// What the emulated GPU tells ThreadSanitizer.
#pragma once
#include <cstddef>
#include <cstdint>

// ThreadSanitizer's interface, null in builds without it. Every emulated thread is a thread of its own there, so that it finds what no barrier
// orders: reads and writes of different threads in between. Files that include this are not instrumented (CMakeLists.txt); they report what they
// read and write for a kernel.
extern "C" {
[[gnu::weak]] void* __tsan_get_current_fiber();
[[gnu::weak]] void* __tsan_create_fiber(unsigned flags);
[[gnu::weak]] void __tsan_destroy_fiber(void* fiber);
[[gnu::weak]] void __tsan_switch_to_fiber(void* fiber, unsigned flags);
[[gnu::weak]] void __tsan_acquire(void* at);
[[gnu::weak]] void __tsan_release(void* at);
[[gnu::weak]] void __tsan_read_range(void* at, unsigned long bytes);
[[gnu::weak]] void __tsan_write_range(void* at, unsigned long bytes);
}

namespace lethe {
inline namespace LETHE_ISA {
namespace emulator {

// What happened before a release comes before what follows an acquire of the same point.
struct SyncPoint {
  uint64_t at = 0;
  void release() {
    if (__tsan_release) __tsan_release(&at);
  }
  void acquire() {
    if (__tsan_acquire) __tsan_acquire(&at);
  }
};
inline void noteRead(const void* at, size_t bytes) {
  if (__tsan_read_range) __tsan_read_range(const_cast<void*>(at), bytes);
}
inline void noteWrite(void* at, size_t bytes) {
  if (__tsan_write_range) __tsan_write_range(at, bytes);
}

}  // namespace emulator
}  // namespace LETHE_ISA
}  // namespace lethe
