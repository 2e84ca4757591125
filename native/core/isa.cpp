#include "lethe/isa.h"

#include <cstdlib>

namespace lethe {

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::portable: return "portable";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
  }
  return "unknown";
}

std::vector<Isa> availableIsas() {
  std::vector<Isa> isas{Isa::portable};
#if defined(__x86_64__)
  // __builtin_cpu_supports also checks that the operating system saves the wide registers
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
    isas.push_back(Isa::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      isas.push_back(Isa::avx512);
    }
  }
#endif
  return isas;
}

Status resolveIsa(const std::string& requested, Isa& isa) {
  const std::vector<Isa> available = availableIsas();
  std::string name = requested;
  if (name.empty() || name == "auto") {
    const char* cap = std::getenv("LETHE_ISA");
    name = cap ? cap : "";
  }
  if (name.empty() || name == "auto") {
    isa = available.back();
    return Status::success();
  }
  std::string known;
  for (Isa candidate : available) {
    if (name == isaName(candidate)) {
      isa = candidate;
      return Status::success();
    }
    known += std::string(known.empty() ? "" : ", ") + isaName(candidate);
  }
  return Status::error("LETHE_ISA_UNAVAILABLE",
                       "expected an instruction set this build and processor have (" + known + "); received \"" + name +
                           "\". Unset LETHE_ISA or choose one of the listed names.");
}

}  // namespace lethe
