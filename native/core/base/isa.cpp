#include "lethe/base/isa.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lethe {

#if defined(__x86_64__)
// Tile registers, 8 KiB a thread, are used only after the process asked for them; threads started later inherit the permission.
static bool requestTiles() {
  constexpr unsigned kBits = 1u << 22 | 1u << 24 | 1u << 25;  // amx-bf16, amx-tile, amx-int8
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kBits) == kBits && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::portable: return "portable";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::avx512bf16: return "avx512bf16";
    case Isa::amx: return "amx";
  }
  return "unknown";
}

std::vector<Isa> availableIsas() {
  std::vector<Isa> isas{Isa::portable};
#if defined(__x86_64__)
  // __builtin_cpu_supports also checks that the operating system saves the wide registers
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
    isas.push_back(Isa::avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
      isas.push_back(Isa::avx512);
      if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vpopcntdq")) {
        isas.push_back(Isa::avx512bf16);
        static const bool tiles = requestTiles();
        if (tiles) isas.push_back(Isa::amx);
      }
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
  return Status::error("LETHE_ISA_UNAVAILABLE", "expected an instruction set this build and processor have (" + known + "); received \"" + name +
                                                    "\". Unset LETHE_ISA or choose one of the listed names.");
}

}  // namespace lethe
