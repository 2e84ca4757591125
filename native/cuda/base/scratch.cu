#include "cuda/base/scratch.h"

#include <vector>

namespace lethe {

namespace {
thread_local std::vector<DeviceMemory> pieces;  // ascending: a larger one does not replace those before it, which recordings may use
}

void* LETHE_PER_ISA(scratchMemory)(int64_t bytes) {
  if (bytes < kScratchBytes) bytes = kScratchBytes;
  if (pieces.empty() || pieces.back().bytes() < bytes) pieces.emplace_back(bytes);
  return pieces.back().data();
}

void LETHE_PER_ISA(releaseScratch)() { pieces.clear(); }

}  // namespace lethe
