#include "lethe/ridge/study.h"

namespace lethe {

// Defined in native/cpu, once per instruction set.
RidgeKernels ridgeKernels_portable();
#if defined(__x86_64__)
RidgeKernels ridgeKernels_avx2();
RidgeKernels ridgeKernels_avx512();
#endif

const RidgeKernels& ridgeKernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) {
    static const RidgeKernels table = ridgeKernels_avx512();
    return table;
  }
  if (isa == Isa::avx2) {
    static const RidgeKernels table = ridgeKernels_avx2();
    return table;
  }
#endif
  static_cast<void>(isa);
  static const RidgeKernels table = ridgeKernels_portable();
  return table;
}

}  // namespace lethe
