// Vector types for the kernels of this folder. Each .cpp here is compiled once per instruction set with LETHE_ISA (a namespace name)
// and LETHE_VECTOR_BYTES (16, 32, 64) set by CMake, so one source serves all levels and every level runs the same logic.
// Everything sits in an unnamed namespace: an inline function shared between builds could be linked from the AVX-512 object.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#include "lethe/base/bf16.h"

// The name of an exported symbol of this build: LETHE_PER_ISA(addLossKernels) is addLossKernels_avx2 and so on.
#define LETHE_JOIN_NAMES(name, isa) name##_##isa
#define LETHE_JOIN(name, isa) LETHE_JOIN_NAMES(name, isa)
#define LETHE_PER_ISA(name) LETHE_JOIN(name, LETHE_ISA)

namespace lethe {
namespace {

constexpr int kLanes = LETHE_VECTOR_BYTES / 4;  // fp32 lanes of the widest vector of this build

template <int Lanes>
struct FloatVector {
  typedef float type __attribute__((vector_size(Lanes * 4)));
  typedef float unaligned __attribute__((vector_size(Lanes * 4), aligned(4), may_alias));
};
template <int Lanes>
using Vec = typename FloatVector<Lanes>::type;

template <int Lanes>
struct Word32Vector {
  typedef uint32_t type __attribute__((vector_size(Lanes * 4)));
  typedef uint16_t half __attribute__((vector_size(Lanes * 2)));
  typedef uint16_t unalignedHalf __attribute__((vector_size(Lanes * 2), aligned(2), may_alias));
};
template <int Lanes>
using Word32 = typename Word32Vector<Lanes>::type;

template <int Lanes>
inline __attribute__((always_inline)) Vec<Lanes> load(const float* from) {
  return *reinterpret_cast<const typename FloatVector<Lanes>::unaligned*>(from);
}
template <int Lanes>
inline __attribute__((always_inline)) void store(float* to, Vec<Lanes> value) {
  *reinterpret_cast<typename FloatVector<Lanes>::unaligned*>(to) = value;
}
template <int Lanes>
inline __attribute__((always_inline)) Word32<Lanes> loadHalves(const Bf16* from) {
  const typename Word32Vector<Lanes>::half halves = *reinterpret_cast<const typename Word32Vector<Lanes>::unalignedHalf*>(from);
  return __builtin_convertvector(halves, Word32<Lanes>);
}
template <int Lanes>
inline __attribute__((always_inline)) Vec<Lanes> load(const Bf16* from) {
  return (Vec<Lanes>)(loadHalves<Lanes>(from) << 16);
}
// Rounds as Bf16(float) does; the processor's own instruction takes denormals as zero.
template <int Lanes>
inline __attribute__((always_inline)) void store(Bf16* to, Vec<Lanes> value) {
#if defined(__AVX512BF16__)
  if constexpr (Lanes == 16) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh((__m512)value));
  if constexpr (Lanes == 8) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), (__m128i)_mm256_cvtneps_pbh((__m256)value));
#endif
  const Word32<Lanes> words = (Word32<Lanes>)value, rounded = words + 0x7FFFu + (words >> 16 & 1u);
  const Word32<Lanes> kept = value != value ? words | 0x400000u : rounded;
  *reinterpret_cast<typename Word32Vector<Lanes>::unalignedHalf*>(to) = __builtin_convertvector(kept >> 16, typename Word32Vector<Lanes>::half);
}
template <int Lanes>
inline __attribute__((always_inline)) Vec<Lanes> broadcast(float value) {
  return value - Vec<Lanes>{};  // x - 0 is x, also for -0, so that this is one instruction
}

}  // namespace
}  // namespace lethe
