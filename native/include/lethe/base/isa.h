// Which instruction-set build of the kernels runs. LETHE_ISA=portable|avx2|avx512|avx512bf16|amx caps it, so that every path is testable.
#pragma once
#include <string>
#include <vector>

#include "lethe/base/status.h"

namespace lethe {

// Ascending: a level has the instructions of those before it, and runs their kernels where it has none of its own.
enum class Isa { portable, avx2, avx512, avx512bf16, amx };

const char* isaName(Isa isa);

// Instruction sets that this build contains and this processor and kernel support, lowest first; never empty.
std::vector<Isa> availableIsas();

// Resolves a request: "" or "auto" takes LETHE_ISA if set, else the highest available.
// LETHE_ISA_UNAVAILABLE names the available ones.
Status resolveIsa(const std::string& requested, Isa& isa);

}  // namespace lethe
