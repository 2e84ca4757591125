// Values of neighbouring channels that one thread loads and stores together: 16 bytes of them, or one.
#pragma once
#include <cstring>

#include "cuda/base/compiler.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

template <typename Value>
constexpr int kWide = 16 / static_cast<int>(sizeof(Value));

template <int V>
__device__ __forceinline__ void load(const float* from, float (&to)[V]) {
  static_assert(V == 1 || V % 4 == 0);
  if constexpr (V == 1) {
    to[0] = *from;
  } else {
    for (int k = 0; k < V; k += 4) {
      const float4 quad = *reinterpret_cast<const float4*>(from + k);
      to[k] = quad.x;
      to[k + 1] = quad.y;
      to[k + 2] = quad.z;
      to[k + 3] = quad.w;
    }
  }
}

template <int V>
__device__ __forceinline__ void store(float* to, const float (&from)[V]) {
  if constexpr (V == 1) {
    *to = from[0];
  } else {
    for (int k = 0; k < V; k += 4) *reinterpret_cast<float4*>(to + k) = make_float4(from[k], from[k + 1], from[k + 2], from[k + 3]);
  }
}

template <int V>
__device__ __forceinline__ void load(const Bf16* from, float (&to)[V]) {
  static_assert(V == 1 || V == 8);
  if constexpr (V == 1) {
    to[0] = *from;
  } else {
    const uint4 quad = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {quad.x, quad.y, quad.z, quad.w};
    for (int k = 0; k < 4; ++k) {
      const uint32_t low = words[k] << 16, high = words[k] & 0xFFFF0000u;
      memcpy(&to[2 * k], &low, sizeof low);
      memcpy(&to[2 * k + 1], &high, sizeof high);
    }
  }
}

template <int V>
__device__ __forceinline__ void store(Bf16* to, const float (&from)[V]) {
  if constexpr (V == 1) {
    *to = from[0];
  } else {
    uint32_t words[4];
    for (int k = 0; k < 4; ++k) {
      words[k] = static_cast<uint32_t>(Bf16(from[2 * k]).bits) | static_cast<uint32_t>(Bf16(from[2 * k + 1]).bits) << 16;
    }
    *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
  }
}

// Bytes of V channels, aligned to V.
template <int V>
__device__ __forceinline__ void loadBytes(const uint8_t* from, uint8_t (&to)[V]) {
  if constexpr (V == 8) {
    const uint2 both = *reinterpret_cast<const uint2*>(from);
    memcpy(to, &both, sizeof to);
  } else if constexpr (V == 4) {
    const uint32_t word = *reinterpret_cast<const uint32_t*>(from);
    memcpy(to, &word, sizeof to);
  } else {
    to[0] = *from;
  }
}
template <int V>
__device__ __forceinline__ void storeBytes(uint8_t* to, const uint8_t (&from)[V]) {
  if constexpr (V == 8) {
    uint2 both;
    memcpy(&both, from, sizeof from);
    *reinterpret_cast<uint2*>(to) = both;
  } else if constexpr (V == 4) {
    uint32_t word;
    memcpy(&word, from, sizeof from);
    *reinterpret_cast<uint32_t*>(to) = word;
  } else {
    *to = from[0];
  }
}

inline bool alignedTo(const void* pointer, size_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// Whether packs of 16 bytes fit the channels of all views.
template <typename Value, typename... Views>
bool wide(const ImageOf<Value>& first, const Views&... rest) {
  return first.c % kWide<Value> == 0 && alignedTo(first.data, 16) && (alignedTo(rest.data, 16) && ...);
}

// ---------------------------------------------------------------- pixels

constexpr int kThreads = 256;

// How a block of kThreads covers pixels: `packs` neighbouring packs of channels of each, kThreads / packs pixels at a time, `pixels` in all.
struct Cover {
  int packs = 1;
  int64_t pixels = 1;  // a block
};

inline int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A thread takes `perThread` pixels, more where that would make more than maxBlocks blocks.
template <int V, typename Value>
Cover coverOf(const ImageOf<Value>& view, int64_t perThread, int64_t maxBlocks) {
  Cover cover;
  const int64_t packs = view.c / V;
  cover.packs = static_cast<int>(packs < kThreads ? packs : kThreads);
  const int64_t lanes = kThreads / cover.packs, total = view.n * view.h * view.w;
  cover.pixels = lanes * perThread;
  if (ceilDivide(total, cover.pixels) > maxBlocks) cover.pixels = ceilDivide(ceilDivide(total, maxBlocks), lanes) * lanes;
  return cover;
}
template <int V, typename Value>
dim3 gridOf(const ImageOf<Value>& view, const Cover& cover) {
  return dim3(static_cast<unsigned>(ceilDivide(view.n * view.h * view.w, cover.pixels)), static_cast<unsigned>(ceilDivide(view.c / V, cover.packs)));
}

// The place of a thread in its block's cover.
struct Place {
  int64_t channel;
  int lane, lanes;
  bool active;
};
template <int V>
__device__ __forceinline__ Place placeOf(const Cover& cover, int64_t channels) {
  Place place;
  const int thread = static_cast<int>(threadIdx.x);
  place.lanes = kThreads / cover.packs;
  place.lane = thread / cover.packs;
  place.channel = (static_cast<int64_t>(blockIdx.y) * cover.packs + thread % cover.packs) * V;
  place.active = place.lane < place.lanes && place.channel < channels;
  return place;
}

// Calls body(image, y, x) for the thread's pixels of the interior, ascending. One division at the start: then a step is three additions.
template <typename Value, typename Body>
__device__ __forceinline__ void eachPixel(const ImageOf<Value>& view, const Cover& cover, const Place& place, Body body) {
  const int64_t total = view.n * view.h * view.w, from = static_cast<int64_t>(blockIdx.x) * cover.pixels + place.lane;
  const int64_t end = (static_cast<int64_t>(blockIdx.x) + 1) * cover.pixels;
  int64_t pixel = from, x = from % view.w, y = from / view.w % view.h, image = from / view.w / view.h;
  const int64_t stepX = place.lanes % view.w, stepY = place.lanes / view.w % view.h, stepImage = place.lanes / view.w / view.h;
  for (; pixel < end && pixel < total; pixel += place.lanes) {
    body(image, y, x);
    x += stepX;
    y += stepY;
    image += stepImage;
    if (x >= view.w) x -= view.w, ++y;
    if (y >= view.h) y -= view.h, ++image;
  }
}

}  // namespace
}  // namespace lethe
