// The tile unit of AMX as the kernels of this folder use it: eight registers of up to 16 rows of 64 bytes, and dot products of bytes
// into 32-bit sums and of bf16 pairs into fp32 sums. Two implementations of one interface, chosen when a file is compiled: the instructions, and with
// LETHE_EMULATE_TILES their definition in plain C++, so that a kernel's blocking and padding are tested on every machine.
#pragma once
#include <cstdint>
#include <cstring>

#include "lethe/base/bf16.h"
#if !defined(LETHE_EMULATE_TILES)
#include <immintrin.h>
#endif

namespace lethe {
namespace {

constexpr int64_t kTileRows = 16, kTileRowBytes = 64, kTileSize = kTileRows * kTileRowBytes;

// The memory operand of LDTILECFG. The default is what kernels want: eight tiles of full size.
struct alignas(64) TileConfig {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

#define LETHE_INLINE inline __attribute__((always_inline))

#if defined(LETHE_EMULATE_TILES)

// Traps where the processor would raise an exception.
class TileUnit {
 public:
  explicit TileUnit(const TileConfig& config) : config_(config) {
    bool legal = config.palette == 1 && config.startRow == 0;
    for (uint8_t byte : config.reserved) legal = legal && byte == 0;
    for (int tile = 0; tile < 16; ++tile) {
      const int rows = config.rows[tile], bytes = config.rowBytes[tile];
      legal = legal && (tile < 8 ? rows <= kTileRows && bytes <= kTileRowBytes && (rows == 0) == (bytes == 0) : rows == 0 && bytes == 0);
    }
    if (!legal) __builtin_trap();
  }

  template <int Tile>
  void zero() {
    std::memset(tiles_[Tile], 0, kTileSize);
  }

  // TILELOADD and TILESTORED of rows `stride` bytes apart. A load clears what lies outside the shape of the tile.
  template <int Tile>
  void load(const void* from, int64_t stride) {
    zero<Tile>();
    for (int row = 0; row < config_.rows[Tile]; ++row) {
      std::memcpy(tiles_[Tile][row], static_cast<const uint8_t*>(from) + row * stride, config_.rowBytes[Tile]);
    }
  }
  template <int Tile>
  void store(void* to, int64_t stride) {
    for (int row = 0; row < config_.rows[Tile]; ++row) {
      std::memcpy(static_cast<uint8_t*>(to) + row * stride, tiles_[Tile][row], config_.rowBytes[Tile]);
    }
  }

  // TDPBUUD and TDPBUSD: C[m, n] += sum over k and i < 4 of A[m, 4 k + i] * B[k, 4 n + i] modulo 2^32, A unsigned.
  template <int C, int A, int B>
  void dotUnsigned() {
    dot<C, A, B, uint8_t>();
  }
  template <int C, int A, int B>
  void dotSigned() {
    dot<C, A, B, int8_t>();
  }

  // TDPBF16PS: C[m, n] += sum over k and i < 2 of A[m, 2 k + i] * B[k, 2 n + i], C of fp32, A and B of bf16.
  template <int C, int A, int B>
  void dotBf16() {
    static_assert(C != A && C != B && A != B);
    const int rows = config_.rows[C], columns = config_.rowBytes[C] / 4, depth = config_.rowBytes[A] / 4;
    if (config_.rows[A] != rows || config_.rowBytes[B] != config_.rowBytes[C] || config_.rows[B] != depth) __builtin_trap();
    for (int m = 0; m < rows; ++m) {
      float sums[16] = {};
      Bf16 a[32], b[32];
      std::memcpy(sums, tiles_[C][m], static_cast<size_t>(columns) * 4);
      std::memcpy(a, tiles_[A][m], kTileRowBytes);
      for (int k = 0; k < depth; ++k) {
        std::memcpy(b, tiles_[B][k], kTileRowBytes);
        for (int n = 0; n < columns; ++n) {
          for (int i = 0; i < 2; ++i) sums[n] += static_cast<float>(a[2 * k + i]) * static_cast<float>(b[2 * n + i]);
        }
      }
      std::memcpy(tiles_[C][m], sums, kTileRowBytes);
    }
    for (int m = rows; m < kTileRows; ++m) std::memset(tiles_[C][m], 0, kTileRowBytes);
  }

 private:
  template <int C, int A, int B, typename Right>
  void dot() {
    static_assert(C != A && C != B && A != B);
    const int rows = config_.rows[C], columns = config_.rowBytes[C] / 4, depth = config_.rowBytes[A] / 4;
    if (config_.rows[A] != rows || config_.rowBytes[B] != config_.rowBytes[C] || config_.rows[B] != depth) __builtin_trap();
    for (int m = 0; m < rows; ++m) {
      uint32_t sums[16] = {};
      std::memcpy(sums, tiles_[C][m], static_cast<size_t>(columns) * 4);
      for (int k = 0; k < depth; ++k) {
        for (int n = 0; n < columns; ++n) {
          for (int i = 0; i < 4; ++i) {
            sums[n] += static_cast<uint32_t>(tiles_[A][m][4 * k + i] * static_cast<Right>(tiles_[B][k][4 * n + i]));
          }
        }
      }
      std::memcpy(tiles_[C][m], sums, kTileRowBytes);
    }
    for (int m = rows; m < kTileRows; ++m) std::memset(tiles_[C][m], 0, kTileRowBytes);
  }

  TileConfig config_;
  uint8_t tiles_[8][kTileRows][kTileRowBytes] = {};
};

// Bit i of the word becomes byte i, 0 or 1.
inline void expandBits(uint64_t word, uint8_t* to) {
  for (int i = 0; i < 64; ++i) to[i] = static_cast<uint8_t>(word >> i & 1);
}

#else

// Instructions by hand: the intrinsics of g++ 12 take no template parameter for a tile and do not say that a load reads memory, so that
// stores to the loaded bytes may be moved behind it. One object a kernel call: threads have their own configuration, and a tile unit
// that is not released makes every context switch save 8 KiB.
class TileUnit {
 public:
  explicit TileUnit(const TileConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
  ~TileUnit() { asm volatile("tilerelease"); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;

  template <int Tile>
  LETHE_INLINE void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(Tile));
  }
  template <int Tile>
  LETHE_INLINE void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Tile>
  LETHE_INLINE void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(Tile) : "memory");
  }
  template <int C, int A, int B>
  LETHE_INLINE void dotUnsigned() {
    asm volatile("tdpbuud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
  template <int C, int A, int B>
  LETHE_INLINE void dotSigned() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
  template <int C, int A, int B>
  LETHE_INLINE void dotBf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }
};

LETHE_INLINE void expandBits(uint64_t word, uint8_t* to) { _mm512_store_si512(to, _mm512_maskz_mov_epi8(_cvtu64_mask64(word), _mm512_set1_epi8(1))); }

#endif

}  // namespace
}  // namespace lethe
