#include "core/base/isa_table.h"
#include "lethe/ridge/study.h"

namespace lethe {

LETHE_ISA_TABLE(RidgeKernels, ridgeKernels)

}  // namespace lethe
