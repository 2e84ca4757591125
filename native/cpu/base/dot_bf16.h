// Dot products of bf16 pairs with fp32 sums: by the processor's instruction where this build has it, else by widening to fp32.
#pragma once
#include "cpu/base/simd.h"

namespace lethe {
namespace {

// sum[l] + a[l].low * b[l].low + a[l].high * b[l].high; a word holds a pair, the first of it in the lower half.
template <int Lanes>
inline __attribute__((always_inline)) Vec<Lanes> dot(Vec<Lanes> sum, Word32<Lanes> a, Word32<Lanes> b) {
#if defined(__AVX512BF16__)
  if constexpr (Lanes == 16) return (Vec<Lanes>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
  if constexpr (Lanes == 8) return (Vec<Lanes>)_mm256_dpbf16_ps((__m256)sum, (__m256bh)a, (__m256bh)b);
  if constexpr (Lanes == 4) return (Vec<Lanes>)_mm_dpbf16_ps((__m128)sum, (__m128bh)a, (__m128bh)b);
#endif
  sum += (Vec<Lanes>)(a << 16) * (Vec<Lanes>)(b << 16);
  return sum + (Vec<Lanes>)(a & 0xFFFF0000u) * (Vec<Lanes>)(b & 0xFFFF0000u);
}

template <int Lanes>
inline __attribute__((always_inline)) Word32<Lanes> loadPairs(const uint32_t* from) {
  typedef uint32_t Unaligned __attribute__((vector_size(Lanes * 4), aligned(4), may_alias));
  return *reinterpret_cast<const Unaligned*>(from);
}

inline __attribute__((always_inline)) uint32_t pairAt(const Bf16* from) {
  uint32_t pair;
  std::memcpy(&pair, from, sizeof pair);
  return pair;
}

// Output channels [first, first + count) as Vectors vectors of Lanes; the last vector may reach beyond.
template <int Lanes, int Vectors>
struct ChannelBlock {
  static constexpr int kLanes = Lanes, kVectors = Vectors, kWidth = Lanes * Vectors;
  int64_t first, count;
};

// Calls visit(ChannelBlock) for blocks that cover [0, channels): wide ones, then the narrowest that takes the rest.
template <typename Visit>
inline __attribute__((always_inline)) void eachChannelBlock(int64_t channels, Visit visit) {
  int64_t c = 0;
  for (; channels - c > kLanes; c += 2 * kLanes) {
    visit(ChannelBlock<kLanes, 2>{c, channels - c < 2 * kLanes ? channels - c : 2 * kLanes});
  }
  const int64_t rest = channels - c;
  if (rest <= 0) return;
  if constexpr (kLanes > 8) {
    if (rest > 8) return visit(ChannelBlock<kLanes, 1>{c, rest});
  }
  if constexpr (kLanes > 4) {
    if (rest > 4) return visit(ChannelBlock<8, 1>{c, rest});
  }
  visit(ChannelBlock<4, 1>{c, rest});
}

// Channels with those that blocks reach beyond the last.
inline int64_t paddedChannels(int64_t channels) {
  int64_t width = 0;
  eachChannelBlock(channels, [&](auto block) { width = block.first + block.kWidth; });
  return width;
}

}  // namespace
}  // namespace lethe
