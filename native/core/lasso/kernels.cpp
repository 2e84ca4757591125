#include "lethe/lasso/kernels.h"

namespace lethe {

// Defined in native/cpu, once per instruction set.
LassoKernels lassoKernels_portable();
#if defined(__x86_64__)
LassoKernels lassoKernels_avx2();
LassoKernels lassoKernels_avx512();
// Replaces the kernels over rows: this level counts bits eight words at a time.
void addLassoRows_avx512bf16(LassoKernels& table);
// Replaces the sums of a pass.
void addLassoSums_amx(LassoKernels& table);
#endif

const LassoKernels& lassoKernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512bf16) {
    const auto build = [](bool tiles) {
      LassoKernels kernels = lassoKernels_avx512();
      addLassoRows_avx512bf16(kernels);
      if (tiles) addLassoSums_amx(kernels);
      return kernels;
    };
    static const LassoKernels words = build(false), tiles = build(true);
    return isa == Isa::amx ? tiles : words;
  }
  if (isa == Isa::avx512) {
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
