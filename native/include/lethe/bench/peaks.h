// Measured limits of one core, so that kernel rates can be quoted as shares of them.
#pragma once
#include <cstdint>

#include "lethe/base/isa.h"

namespace lethe {

struct Peaks {
  double fmaGflops = 0;         // fp32 multiply-adds in registers, two operations each (portable: separate multiply and add)
  double dotBf16Gflops = 0;     // dot products of bf16 pairs in vector registers, 0 without their instruction
  double amxBf16Gflops = 0;     // the same between tile registers, 0 without AMX
  double amxInt8Tops = 0;       // 10^12 int8 multiplications and additions, 0 without AMX
  double popcountGwords = 0;    // 64-bit words of AND and population count, in the first-level cache
  double copyGbytes = 0;        // copy between buffers far larger than the caches; a copied byte counts once
  double copyCachedGbytes = 0;  // copy within half of the second-level cache
};

// The best of several short trials in CPU time of the calling thread; half a second. The level must be available (resolveIsa).
Peaks measurePeaks(Isa isa);

// "g++ 12.2.0": what compiled the kernels.
const char* compilerName();

// One table per instruction set, defined in native/cpu/peaks.cpp.
struct PeakKernels {
  int64_t operationsPerLoop = 0;
  // sum = sum * factor + term in independent registers; the result only keeps the compiler from dropping the work
  float (*multiplyAdd)(int64_t loops, float factor, float term) = nullptr;
  // the same of dot products of bf16 pairs, null without their instruction; it has four operations where multiplyAdd has two
  float (*dotBf16)(int64_t loops) = nullptr;
  // words is a multiple of 8
  int64_t (*popcount)(const uint64_t* a, const uint64_t* b, int64_t words) = nullptr;
  // count is a multiple of 64
  void (*copy)(const float* from, float* to, int64_t count) = nullptr;
};

}  // namespace lethe
