// Histograms of columns for KLOM: memory-bound, so one sweep finds the ranges and a second one, from cache, counts in bytes.
#include "cpu/base/simd.h"
#include "lethe/evaluate/evaluate.h"

namespace lethe {
namespace {

constexpr int kWidth = LETHE_VECTOR_BYTES;  // points of a tile: one byte lane each
constexpr int kRows = 128;                  // rows between flushes of the byte counters; must stay below 256
constexpr int kGroup = 10;                  // byte counters held in registers at once

typedef uint8_t Bytes __attribute__((vector_size(LETHE_VECTOR_BYTES), may_alias));
typedef uint16_t Shorts __attribute__((vector_size(LETHE_VECTOR_BYTES), may_alias));
typedef uint32_t Words __attribute__((vector_size(LETHE_VECTOR_BYTES), may_alias));
typedef uint64_t Longs __attribute__((vector_size(LETHE_VECTOR_BYTES), may_alias));
typedef uint32_t UnalignedWords __attribute__((vector_size(LETHE_VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(LETHE_VECTOR_BYTES), may_alias));

inline __attribute__((always_inline)) bool any(Shorts mask) {
  const Longs words = reinterpret_cast<Longs>(mask);
  uint64_t all = 0;
  for (int i = 0; i < LETHE_VECTOR_BYTES / 8; ++i) all |= words[i];
  return all != 0;
}

void range(const float* x, int64_t models, int64_t points, int64_t stride, float* lowest, float* highest, float* poison) {
  int64_t m = 0;
  for (; m + 4 <= models; m += 4) {  // four rows a visit keep the accumulators' traffic below the data's
    const float* r0 = x + m * stride;
    const float *r1 = r0 + stride, *r2 = r1 + stride, *r3 = r2 + stride;
    int64_t p = 0;
    for (; p + kLanes <= points; p += kLanes) {
      const Vec<kLanes> a = load<kLanes>(r0 + p), b = load<kLanes>(r1 + p), c = load<kLanes>(r2 + p), d = load<kLanes>(r3 + p);
      Vec<kLanes> low = load<kLanes>(lowest + p), high = load<kLanes>(highest + p);
      const Vec<kLanes> lowA = a < b ? a : b, lowB = c < d ? c : d, highA = a > b ? a : b, highB = c > d ? c : d;
      const Vec<kLanes> lowC = lowA < lowB ? lowA : lowB, highC = highA > highB ? highA : highB;
      store<kLanes>(lowest + p, lowC < low ? lowC : low);
      store<kLanes>(highest + p, highC > high ? highC : high);
      // 0 for finite values, NaN for infinities and NaN; sums that overflow only cost the point its fast path
      store<kLanes>(poison + p, load<kLanes>(poison + p) + ((a + b) + (c + d)) * 0.f);
    }
    for (; p < points; ++p) {
      for (const float* row : {r0, r1, r2, r3}) {
        lowest[p] = row[p] < lowest[p] ? row[p] : lowest[p];
        highest[p] = row[p] > highest[p] ? row[p] : highest[p];
        poison[p] += row[p] * 0.f;
      }
    }
  }
  for (; m < models; ++m) {
    const float* row = x + m * stride;
    for (int64_t p = 0; p < points; ++p) {
      lowest[p] = row[p] < lowest[p] ? row[p] : lowest[p];
      highest[p] = row[p] > highest[p] ? row[p] : highest[p];
      poison[p] += row[p] * 0.f;
    }
  }
}

// Positions are fixed-point, 2^16 units a bin, in the low mantissa bits of 1.5 * 2^23 + position (the sum rounds to a whole unit).
// With 32 bins or fewer the fp32 position is wrong by less than 0.4 units: only values that round to an edge need the exact comparison.
constexpr int kFraction = 16;
constexpr float kMagic = 12582912.f;
constexpr uint8_t kMagicByte = 0x40;  // what the magic number leaves in a bin's byte
static_assert(kMaxVectorBins == 32);

struct Tile {
  alignas(64) float low[kWidth], scale[kWidth];
  float top;  // positions are clamped to [1, units - 1] so that the extreme values of a point never look like edge cases
};

// The bin of a value whose position rounds to edge k, 0 < k < bins.
inline int64_t exactBin(float value, int64_t k, double low, double high, int64_t bins) {
  const double step = (high - low) / static_cast<double>(bins);
  const double edge = static_cast<double>(k) * step + low;
  return static_cast<double>(value) >= edge ? k : k - 1;
}

// The four vectors of a tile are kept interleaved: byte 4 i + s of `bin` belongs to point s * kLanes + i. Shifts, masks and ors pack
// them so, the same way on every instruction set.
template <int Rows>
inline __attribute__((always_inline)) void binRows(const float* x, int64_t stride, const Tile& tile, const double* low, const double* high, int64_t bins,
                                                   uint8_t* bin) {
  Words position[Rows][4];
  Shorts atEdge{};
  for (int r = 0; r < Rows; ++r) {
    Words* part = position[r];
    for (int s = 0; s < 4; ++s) {
      const Vec<kLanes> t = (load<kLanes>(x + r * stride + s * kLanes) - load<kLanes>(tile.low + s * kLanes)) * load<kLanes>(tile.scale + s * kLanes);
      const Vec<kLanes> top = broadcast<kLanes>(tile.top);
      const Ints bits = reinterpret_cast<Ints>((t < top ? t : top) + kMagic);
      constexpr int32_t kLowest = 0x4B400001;  // far below the range the bits are those of a negative number
      part[s] = reinterpret_cast<Words>(bits > kLowest ? bits : Ints{} + kLowest);
    }
    const Words lowA = (part[0] & 0xFFFF) | part[1] << 16, lowB = (part[2] & 0xFFFF) | part[3] << 16;
    atEdge |= reinterpret_cast<Shorts>(reinterpret_cast<Shorts>(lowA) == 0) | reinterpret_cast<Shorts>(reinterpret_cast<Shorts>(lowB) == 0);
    const Words packed = (part[0] >> 16 & 0xFF) | (part[1] >> 8 & 0xFF00) | (part[2] & 0xFF0000) | (part[3] << 8 & 0xFF000000u);
    *reinterpret_cast<Words*>(bin + r * kWidth) = packed;
  }
  if (!any(atEdge)) return;
  for (int r = 0; r < Rows; ++r) {
    for (int p = 0; p < kWidth; ++p) {
      const int s = p / kLanes, i = p % kLanes;
      const uint32_t units = position[r][s][i] & 0x3FFFFF;
      if ((units & 0xFFFF) != 0) continue;
      bin[r * kWidth + 4 * i + s] = static_cast<uint8_t>(kMagicByte + exactBin(x[r * stride + p], units >> kFraction, low[p], high[p], bins));
    }
  }
}

// Counts into counts[b * kWidth + p] the rows with b in point p's byte, for kGroup bins from `first`; adds to what is there or overwrites.
void countGroup(const uint8_t* bin, int64_t rows, int64_t first, int64_t bins, bool add, uint32_t* counts) {
  Bytes wanted[kGroup], found[kGroup];
  for (int g = 0; g < kGroup; ++g) {
    wanted[g] = Bytes{} + static_cast<uint8_t>(kMagicByte + first + g);
    found[g] = Bytes{};
  }
  for (int64_t r = 0; r < rows; ++r) {
    const Bytes row = *reinterpret_cast<const Bytes*>(bin + r * kWidth);
    for (int g = 0; g < kGroup; ++g) found[g] -= reinterpret_cast<Bytes>(row == wanted[g]);
  }
  for (int g = 0; g < kGroup && first + g < bins; ++g) {
    const Words packed = reinterpret_cast<Words>(found[g]);
    for (int s = 0; s < 4; ++s) {
      UnalignedWords* out = reinterpret_cast<UnalignedWords*>(counts + (first + g) * kWidth + s * kLanes);
      const Words number = packed >> (8 * s) & 255;
      *out = add ? *out + number : number;
    }
  }
}

void count(const float* x, int64_t models, int64_t stride, const float* next, int64_t nextPoints, const double* low, const double* high, int64_t bins,
           uint32_t* counts) {
  Tile tile;
  const double units = static_cast<double>(bins << kFraction);
  tile.top = static_cast<float>(units - 1);
  for (int p = 0; p < kWidth; ++p) {
    tile.low[p] = static_cast<float>(low[p]);
    tile.scale[p] = static_cast<float>(units / (high[p] - low[p]));
  }
  alignas(64) uint8_t bin[kRows * kWidth];
  int64_t column = 0;
  for (int64_t m = 0; m < models; m += kRows) {
    const int64_t rows = models - m < kRows ? models - m : kRows;
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2) {
      const float* row = x + (m + r) * stride;
      for (int line = 0; line < 2 * kWidth / 16 && nextPoints > 0; ++line) {
        __builtin_prefetch(next + column, 0, 2);
        column += 16;
        if (column >= nextPoints) column = 0, next += stride;
      }
      binRows<2>(row, stride, tile, low, high, bins, bin + r * kWidth);
    }
    if (r < rows) binRows<1>(x + (m + r) * stride, stride, tile, low, high, bins, bin + r * kWidth);
    for (int64_t first = 0; first < bins; first += kGroup) countGroup(bin, rows, first, bins, m > 0, counts);
  }
}

}  // namespace

HistogramKernels LETHE_PER_ISA(histogramKernels)() { return {kWidth, range, count}; }

}  // namespace lethe
