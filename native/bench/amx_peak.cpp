#include "lethe/bench/amx_peak.h"

#include "lethe/base/isa.h"

namespace lethe {

// Defined in native/cpu/amx.
double amxInt8Peak();
double amxBf16Peak();

double measureAmxInt8Peak() {
#if defined(__x86_64__)
  if (availableIsas().back() == Isa::amx) return amxInt8Peak();
#endif
  return 0;
}

double measureAmxBf16Peak() {
#if defined(__x86_64__)
  if (availableIsas().back() == Isa::amx) return amxBf16Peak();
#endif
  return 0;
}

}  // namespace lethe
