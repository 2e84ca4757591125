// bfloat16: the upper half of a float, with its range and 8 bits of precision.
#pragma once
#include <cstdint>
#include <cstring>

// An out-of-line copy of an inline function could be linked from an object of a higher instruction set.
#ifdef __CUDACC__
#define LETHE_ALWAYS_INLINE __host__ __device__ __forceinline__
#else
#define LETHE_ALWAYS_INLINE inline __attribute__((always_inline))
#endif

namespace lethe {

struct Bf16 {
  uint16_t bits;

  Bf16() = default;
  // Rounds to nearest, ties to even; NaN stays NaN, values above the largest finite one become infinite, denormals are kept.
  LETHE_ALWAYS_INLINE Bf16(float value) {
    uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    const uint32_t rounded = word + 0x7FFFu + (word >> 16 & 1u);
    bits = static_cast<uint16_t>((value != value ? word | 0x400000u : rounded) >> 16);
  }
  LETHE_ALWAYS_INLINE operator float() const {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
};

}  // namespace lethe
