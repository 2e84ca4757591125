// The parts of the table of datamodel kernels; each file of this folder adds its own.
#pragma once
#include "cpu/base/simd.h"
#include "lethe/lasso/kernels.h"

namespace lethe {

void LETHE_PER_ISA(addLassoSums)(LassoKernels& table);
void LETHE_PER_ISA(addLassoRows)(LassoKernels& table);

}  // namespace lethe
