// Tables of kernels by instruction set, and the only list of the levels that every file of native/cpu is compiled for.
#pragma once
#include <array>
#include <mutex>
#include <vector>

#include "lethe/base/isa.h"

// The levels above run the kernels of the last one here, and replace some.
#if defined(__x86_64__)
#define LETHE_EVERY_LEVEL(with) with(portable) with(avx2) with(avx512)
#define LETHE_LEVELS_OF(build) \
  {Isa::portable, build##_portable}, {Isa::avx2, build##_avx2}, { Isa::avx512, build##_avx512 }
#define LETHE_DECLARE_LEVELS(Table, build) Table build##_portable(), build##_avx2(), build##_avx512();
#else
#define LETHE_EVERY_LEVEL(with) with(portable)
#define LETHE_LEVELS_OF(build) {Isa::portable, build##_portable}
#define LETHE_DECLARE_LEVELS(Table, build) Table build##_portable();
#endif

// const Table& build(Isa), of the functions build_portable(), ... in native/cpu.
#define LETHE_ISA_TABLE(Table, build)                         \
  LETHE_DECLARE_LEVELS(Table, build)                          \
  const Table& build(Isa isa) {                               \
    static IsaTables<Table> tables({LETHE_LEVELS_OF(build)}); \
    return tables.of(isa);                                    \
  }

namespace lethe {

constexpr size_t kNumIsas = static_cast<size_t>(Isa::amx) + 1;

template <typename Table>
struct IsaLevel {
  Isa isa;
  Table (*build)();  // compiled for that level: called where it is there only
};

template <typename Table>
class IsaTables {
 public:
  // levels: ascending, portable first; not more than there are.
  explicit IsaTables(std::vector<IsaLevel<Table>> levels) : levels_(std::move(levels)) {}

  // Of the highest level that isa reaches.
  const Table& of(Isa isa) {
    size_t level = levels_.size() - 1;
    while (levels_[level].isa > isa) --level;
    std::call_once(built_[level], [&] { tables_[level] = levels_[level].build(); });
    return tables_[level];
  }

 private:
  std::vector<IsaLevel<Table>> levels_;
  std::array<std::once_flag, kNumIsas> built_;
  std::array<Table, kNumIsas> tables_{};
};

}  // namespace lethe
