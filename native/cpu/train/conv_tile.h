// The register-blocked product that all convolutions end in.
#pragma once
#include "cpu/base/simd.h"
#include "cpu/train/conv_product.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

// weight: (taps, run, channels); all strides in floats.
using Product = ProductOf<float, float>;

// The part of the sum that one visit of the tiles adds: its weights fit the L1 cache.
struct Slice {
  int64_t offset;  // into the input of a pixel
  const float* weight;
  int64_t taps, run;
  bool first;  // overwrites the output
};

// A tile is Groups pointers to Size pixels each, which are neighbours in their row.
template <int Lanes, int Vectors, int Groups, int Size>
inline __attribute__((always_inline)) void tile(const Product& job, const Slice& slice, const float* const* in, float* const* out) {
  Vec<Lanes> sum[Groups * Size][Vectors];
  const float* from[Groups];
  const int64_t inPixel = job.inPixel, outPixel = job.outPixel, channels = job.channels, run = slice.run;
#pragma GCC unroll 16
  for (int p = 0; p < Groups * Size; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      sum[p][v] = slice.first ? Vec<Lanes>{} : load<Lanes>(out[p / Size] + p % Size * outPixel + v * Lanes);
    }
  }
  for (int g = 0; g < Groups; ++g) from[g] = in[g] + slice.offset;
  const float* weight = slice.weight;
  for (int64_t tap = 0; tap < slice.taps; ++tap) {
#pragma GCC unroll 2
    for (int64_t k = 0; k < run; ++k) {
      Vec<Lanes> taken[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) taken[v] = load<Lanes>(weight + v * Lanes);
#pragma GCC unroll 16
      for (int p = 0; p < Groups * Size; ++p) {
        const Vec<Lanes> value = broadcast<Lanes>(Size == 1 ? from[p / Size][k] : from[p / Size][p % Size * inPixel]);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sum[p][v] += value * taken[v];
      }
      weight += channels;
      if constexpr (Size > 1) {
#pragma GCC unroll 16
        for (int g = 0; g < Groups; ++g) {
          ++from[g];
          asm("" : "+r"(from[g]));  // keeps a group's pixels at fixed offsets from one register: a counter for each would spill
        }
      }
    }
#pragma GCC unroll 16
    for (int g = 0; g < Groups; ++g) from[g] += job.tapStep - (Size > 1 ? run : 0);
  }
#pragma GCC unroll 16
  for (int p = 0; p < Groups * Size; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) store<Lanes>(out[p / Size] + p % Size * outPixel + v * Lanes, sum[p][v]);
  }
}

}  // namespace
}  // namespace lethe
