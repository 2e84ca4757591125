#include "lethe/linear.h"

namespace lethe {

// Defined in native/cpu, once per instruction set.
LinearKernels linearKernels_portable();
#if defined(__x86_64__)
LinearKernels linearKernels_avx2();
LinearKernels linearKernels_avx512();
#endif

const LinearKernels& linearKernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) {
    static const LinearKernels table = linearKernels_avx512();
    return table;
  }
  if (isa == Isa::avx2) {
    static const LinearKernels table = linearKernels_avx2();
    return table;
  }
#endif
  static_cast<void>(isa);
  static const LinearKernels table = linearKernels_portable();
  return table;
}

}  // namespace lethe
