// Vector types for the kernels of this folder. Each .cpp here is compiled once per instruction set with LETHE_ISA (a namespace name)
// and LETHE_VECTOR_BYTES (16, 32, 64) set by CMake, so one source serves all levels and every level runs the same logic.
// Everything sits in an unnamed namespace: an inline function shared between builds could be linked from the AVX-512 object.
#pragma once
#include <cstdint>
#include <cstring>

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
inline __attribute__((always_inline)) Vec<Lanes> load(const float* from) {
  return *reinterpret_cast<const typename FloatVector<Lanes>::unaligned*>(from);
}
template <int Lanes>
inline __attribute__((always_inline)) void store(float* to, Vec<Lanes> value) {
  *reinterpret_cast<typename FloatVector<Lanes>::unaligned*>(to) = value;
}
template <int Lanes>
inline __attribute__((always_inline)) Vec<Lanes> broadcast(float value) {
  return value - Vec<Lanes>{};  // x - 0 is x, also for -0, so that this is one instruction
}

}  // namespace
}  // namespace lethe
