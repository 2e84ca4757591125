#include "lethe/lasso/kernels.h"

#include "core/base/isa_table.h"

namespace lethe {

LETHE_DECLARE_LEVELS(LassoKernels, lassoKernels)

#if defined(__x86_64__)
// Replaces the kernels over rows: this level counts bits eight words at a time.
void addLassoRows_avx512bf16(LassoKernels& table);
// Replaces the sums of a pass.
void addLassoSums_amx(LassoKernels& table);

static LassoKernels lassoKernels_avx512bf16() {
  LassoKernels table = lassoKernels_avx512();
  addLassoRows_avx512bf16(table);
  return table;
}

static LassoKernels lassoKernels_amx() {
  LassoKernels table = lassoKernels_avx512bf16();
  addLassoSums_amx(table);
  return table;
}
#define LETHE_LEVELS_ABOVE \
  , {Isa::avx512bf16, lassoKernels_avx512bf16}, { Isa::amx, lassoKernels_amx }
#else
#define LETHE_LEVELS_ABOVE
#endif

const LassoKernels& lassoKernels(Isa isa) {
  static IsaTables<LassoKernels> tables({LETHE_LEVELS_OF(lassoKernels) LETHE_LEVELS_ABOVE});
  return tables.of(isa);
}

}  // namespace lethe
