// How fast the datamodel kernels run on this machine, checked first.
#pragma once
#include <string>
#include <vector>

#include "lethe/base/status.h"

namespace lethe {

struct KernelRate {
  std::string kernel, shape, unit;
  double rate = 0;         // median, in `unit`, CPU time of one thread
  double shareOfPeak = 0;  // of the measured peak of the instructions the naive algorithm would use: table methods may exceed 1
};

// Compares every kernel of one instruction set with a naive loop, then times it; about a second.
// Errors: LETHE_ISA_UNAVAILABLE, LETHE_KERNEL_WRONG.
Status lassoKernelRates(const std::string& isa, std::vector<KernelRate>& rates);

}  // namespace lethe
