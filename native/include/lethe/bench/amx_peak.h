// The rates of one core's tile unit, the yardstick of the AMX kernels.
#pragma once

namespace lethe {

// Top/s (a multiplication and an addition are two) of byte dot products between registers; 0 where AMX is absent.
double measureAmxInt8Peak();
// Gflop/s of bf16 dot products between registers; 0 where AMX is absent.
double measureAmxBf16Peak();

}  // namespace lethe
