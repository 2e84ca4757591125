#include "lethe/lasso_kernels.h"

namespace lethe {

// Defined in native/cpu, once per instruction set.
LassoKernels lassoKernels_portable();
#if defined(__x86_64__)
LassoKernels lassoKernels_avx2();
LassoKernels lassoKernels_avx512();
// Replaces the sums of a pass.
void addLassoSums_amx(LassoKernels& table);
#endif

const LassoKernels& lassoKernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::amx) {
    static const LassoKernels table = [] {
      LassoKernels kernels = lassoKernels_avx512();
      addLassoSums_amx(kernels);
      return kernels;
    }();
    return table;
  }
  if (isa >= Isa::avx512) {
    static const LassoKernels table = lassoKernels_avx512();
    return table;
  }
  if (isa == Isa::avx2) {
    static const LassoKernels table = lassoKernels_avx2();
    return table;
  }
#endif
  static_cast<void>(isa);
  static const LassoKernels table = lassoKernels_portable();
  return table;
}

}  // namespace lethe
