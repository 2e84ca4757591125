// Memory for sums on their way, one piece a thread of the host: kernels that follow each other in the thread's stream share it.
#pragma once
#include "cuda/base/compiler.h"

namespace lethe {

constexpr int64_t kScratchBytes = int64_t{4} << 20;  // what reductions keep to, unless one row of channels needs more

// At least this many bytes of the calling thread's GPU, aligned to 256; any content. Valid until releaseScratch.
void* LETHE_PER_ISA(scratchMemory)(int64_t bytes);
// Before the calling thread goes to another GPU, and at its end.
void LETHE_PER_ISA(releaseScratch)();

}  // namespace lethe
