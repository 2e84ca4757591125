#include "cuda/scratch.h"

namespace lethe {

namespace {
thread_local DeviceMemory scratch;
}

void* LETHE_PER_ISA(scratchMemory)(int64_t bytes) {
  if (bytes < kScratchBytes) bytes = kScratchBytes;
  if (scratch.bytes() < bytes) {
    scratch = DeviceMemory();  // the old piece first: freeing waits for what still uses it
    scratch = DeviceMemory(bytes);
  }
  return scratch.data();
}

void LETHE_PER_ISA(releaseScratch)() { scratch = DeviceMemory(); }

}  // namespace lethe
