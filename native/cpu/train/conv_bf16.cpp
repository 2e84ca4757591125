// Convolution forward and input gradient of bf16 images in vector registers.
#include "cpu/train/conv_bf16.h"
#include "cpu/base/dot_bf16.h"

namespace lethe {
namespace {

template <int Lanes, int Vectors>
inline __attribute__((always_inline)) void storePixel(const Vec<Lanes> (&sum)[Vectors], int64_t count, Bf16* out) {
  if (count == Lanes * Vectors) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) store<Lanes>(out + v * Lanes, sum[v]);
    return;
  }
  Bf16 rounded[Lanes * Vectors];
  for (int v = 0; v < Vectors; ++v) store<Lanes>(rounded + v * Lanes, sum[v]);
  std::memcpy(out, rounded, static_cast<size_t>(count) * sizeof(Bf16));
}

// One pair of inputs of every pixel. Last: the pair has one number, and its neighbour in memory must not meet the padded weight, since
// NaN times zero is NaN.
template <int Lanes, int Vectors, int Groups, int Size, bool Last>
inline __attribute__((always_inline)) void addPair(Vec<Lanes> (&sum)[Groups * Size][Vectors], const Bf16* const (&from)[Groups], int64_t k, int64_t inPixel,
                                                   const uint32_t* weight) {
  Word32<Lanes> taken[Vectors];
#pragma GCC unroll 2
  for (int v = 0; v < Vectors; ++v) taken[v] = loadPairs<Lanes>(weight + v * Lanes);
#pragma GCC unroll 24
  for (int p = 0; p < Groups * Size; ++p) {
    const Bf16* at = from[p / Size] + p % Size * inPixel + k;
    const Word32<Lanes> value = Word32<Lanes>{} + (Last ? at->bits : pairAt(at));
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sum[p][v] = dot<Lanes>(sum[p][v], taken[v], value);
  }
}

// A tile is Groups pointers to Size pixels each, which are neighbours in their row.
template <int Lanes, int Vectors, int Groups, int Size>
inline __attribute__((always_inline)) void tile(const Product& job, const uint32_t* weight, int64_t count, const Bf16* const* in, Bf16* const* out) {
  Vec<Lanes> sum[Groups * Size][Vectors] = {};
  const Bf16* from[Groups];
  const int64_t inPixel = job.inPixel, pairs = job.run / 2, rest = job.tapStep - 2 * pairs;
  for (int g = 0; g < Groups; ++g) from[g] = in[g];
  for (int64_t tap = 0; tap < job.taps; ++tap) {
#pragma GCC unroll 2
    for (int64_t k = 0; k < pairs; ++k) {
      addPair<Lanes, Vectors, Groups, Size, false>(sum, from, Size == 1 ? 2 * k : 0, inPixel, weight);
      weight += Lanes * Vectors;
      if constexpr (Size > 1) {
#pragma GCC unroll 12
        for (int g = 0; g < Groups; ++g) {
          from[g] += 2;
          asm("" : "+r"(from[g]));  // keeps a group's pixels at fixed offsets from one register: a counter for each would spill
        }
      }
    }
    if (job.run % 2 != 0) {
      addPair<Lanes, Vectors, Groups, Size, true>(sum, from, Size == 1 ? 2 * pairs : 0, inPixel, weight);
      weight += Lanes * Vectors;
    }
#pragma GCC unroll 12
    for (int g = 0; g < Groups; ++g) from[g] += Size > 1 ? rest : job.tapStep;
  }
#pragma GCC unroll 24
  for (int p = 0; p < Groups * Size; ++p) storePixel<Lanes, Vectors>(sum[p], count, out[p / Size] + p % Size * job.outPixel);
}

// All pixels of images [first, last).
template <int Groups, int Size, int Lanes, int Vectors>
__attribute__((noinline)) void sweep(const Product& job, const ChannelBlock<Lanes, Vectors>& block, int64_t first, int64_t last) {
  const uint32_t* weight = job.weight + job.taps * ((job.run + 1) / 2) * block.first;
  eachTile<Groups, Size>(job, first, last, block.first, [&](const Bf16* const* ins, Bf16* const* outs) __attribute__((always_inline)) {
    tile<Lanes, Vectors, Groups, Size>(job, weight, block.count, ins, outs);
  });
}

constexpr bool kWide = LETHE_VECTOR_BYTES == 64;  // 32 registers

template <int Lanes, int Vectors>
void sweepBlock(const Product& job, const ChannelBlock<Lanes, Vectors>& block, int64_t first, int64_t last) {
  constexpr int kPixels = (kWide ? 24 : 8) / Vectors;
  if (job.w % 4 == 0) sweep<kPixels / 4, 4>(job, block, first, last);
  else sweep<kWide ? 8 : 4, 1>(job, block, first, last);
}

struct VectorEngine {
  static constexpr int64_t kPairStep = 1;

  template <typename Visit>
  static inline __attribute__((always_inline)) void eachBlock(int64_t channels, Visit visit) {
    eachChannelBlock(channels, visit);
  }
  static void multiply(const Product& job, int64_t first, int64_t last) {
    eachChannelBlock(job.channels, [&](auto block) { sweepBlock(job, block, first, last); });
  }
};

}  // namespace

void LETHE_PER_ISA(addConvBf16Kernels)(ImageKernels<Bf16>& table) {
  table.convForward = convForward<VectorEngine>;
  table.convInputGradient = convInputGradient<VectorEngine>;
}

int64_t LETHE_PER_ISA(convBf16ScratchWords)(const ConvShape& shape) { return productScratch<VectorEngine>(shape); }

}  // namespace lethe
