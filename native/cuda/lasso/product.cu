// Correlations of many residuals with all columns: bits times quantised residuals, exact in integers.
#include "cuda/lasso/device.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

constexpr int kColumns = 128, kSides = 128;  // tile: columns of X; bytes of residuals: targets * limbs
constexpr int kProductThreads = 128, kGroups = kSides / 8;
constexpr int kStages = 3, kBitBytes = kColumns * 16, kStageBytes = kBitBytes + kSides * static_cast<int>(kRowTile);

// One stage of rows: bits of the warp's 32 columns times all sides.
__device__ __forceinline__ void multiplyStage(const uint8_t* stage, int warpColumn, int32_t (&sums)[2][kGroups][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  uint32_t words[2][2][4];
  LETHE_UNROLL
  for (int i = 0; i < 2; ++i) {
    LETHE_UNROLL
    for (int h = 0; h < 2; ++h) {
      const uint4 loaded = *reinterpret_cast<const uint4*>(stage + (warpColumn + i * 16 + h * 8 + g) * 16);
      words[i][h][0] = loaded.x;
      words[i][h][1] = loaded.y;
      words[i][h][2] = loaded.z;
      words[i][h][3] = loaded.w;
    }
  }
  LETHE_UNROLL
  for (int s = 0; s < 4; ++s) {
    uint32_t a[2][4];
    LETHE_UNROLL
    for (int i = 0; i < 2; ++i) {
      LETHE_UNROLL
      for (int h = 0; h < 2; ++h) {
        a[i][h] = (words[i][h][s] >> t) & 0x01010101u;
        a[i][2 + h] = (words[i][h][s] >> (t + 4)) & 0x01010101u;
      }
    }
    LETHE_UNROLL
    for (int j = 0; j < kGroups; j += 2) {
      const int side = (j + lane / 16) * 8 + lane % 8, chunk = s * 2 + lane / 8 % 2;
      uint32_t r[4];
      loadMatrix4(r, stage + kBitBytes + side * kRowTile + (chunk ^ (side & 7)) * 16);
      const uint32_t left[2] = {r[0], r[1]}, right[2] = {r[2], r[3]};
      LETHE_UNROLL
      for (int i = 0; i < 2; ++i) {
        mmaS8(sums[i][j], a[i], left);
        mmaS8(sums[i][j + 1], a[i], right);
      }
    }
  }
}

// From whole numbers to correlations: less what the mean of the residual makes of the models that saw an example.
template <int kLimbs>
__device__ __forceinline__ void writeCorrelations(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t first, int64_t count,
                                                  int64_t firstTarget, int64_t warpFirstColumn, const int32_t (&sums)[2][kGroups][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  LETHE_UNROLL
  for (int group = 0; group < kGroups; group += kLimbs) {
    LETHE_UNROLL
    for (int e = 0; e < 2; ++e) {
      const int64_t target = firstTarget + group / kLimbs * 8 + 2 * t + e;
      if (target >= count) continue;
      const Command& command = commands[first + target];
      const double unit = slots.unit[first + target], share = static_cast<double>(slots.total[first + target]) / command.count;
      double* result = slots.correlation + (first + target) * design.columns;
      const int32_t* seen = design.seen + command.rowSet * design.columns;
      LETHE_UNROLL
      for (int i = 0; i < 2; ++i) {
        LETHE_UNROLL
        for (int h = 0; h < 2; ++h) {
          const int64_t column = warpFirstColumn + i * 16 + h * 8 + g;
          if (column >= design.columns) continue;
          int64_t sum = 0;
          LETHE_UNROLL
          for (int limb = kLimbs - 1; limb >= 0; --limb) sum = sum * 256 + sums[i][group + limb][2 * h + e];
          result[column] = unit * (static_cast<double>(sum) - share * seen[column]);
        }
      }
    }
  }
}

// Within 32 rows the order is free as long as both operands agree. Byte 4q + r holds row q + 8r, so that four bits of a word become an
// operand of the product by one shift and one mask. Warps take 32 columns and all sides, so that the shifts serve as many products as
// registers allow; sides are ordered so that a thread holds all limbs of its targets: group of eight sides = (targets of eight) * limbs + limb.
template <int kLimbs>
__global__ void __launch_bounds__(kProductThreads, 2)
    correlateKernel(DesignView design, SlotsView slots, const Command* commands, int64_t first, int64_t count) {
  constexpr int kTargets = kSides / kLimbs;
  uint8_t* shared = dynamicShared<uint8_t>();
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int64_t firstColumn = static_cast<int64_t>(blockIdx.x) * kColumns, firstTarget = static_cast<int64_t>(blockIdx.y) * kTargets;
  const int64_t rows = design.words * 32;
  const int steps = static_cast<int>(rows / kRowTile);
  const int warpColumn = warp * 32;
  int32_t sums[2][kGroups][4] = {};

  // This thread loads a column's bits, and chunk thread % 8 of sides thread / 8, + 16, ... of which the target is thread / 8 % 8 in its group.
  static_assert(kProductThreads == kColumns);
  const bool columnThere = firstColumn + thread < design.columns;
  const uint32_t* bits = design.bits + (columnThere ? firstColumn + thread : 0) * design.words;
  const int rowChunks = static_cast<int>(rows / 16), to = thread / 8 * static_cast<int>(kRowTile) + (thread % 8 ^ (thread / 8 & 7)) * 16;
  const int targetsLeft = static_cast<int>(count - firstTarget) - thread / 8 % 8;  // of this one and those behind it
  const int8_t* from = slots.limbs + (first + (targetsLeft > 0 ? firstTarget + thread / 8 % 8 : 0)) * kMaxLimbs * rows + thread % 8 * 16;

  const auto load = [&](int step) {
    uint8_t* stage = shared + step % kStages * kStageBytes;
    copyAsync16(stage + thread * 16, bits + step * 4, columnThere);
    for (int k = 0; k < kSides * 8 / kProductThreads; ++k) {
      const int group = k * (kProductThreads / 64) + thread / 64;
      const bool valid = group / kLimbs * 8 < targetsLeft;
      const int64_t chunk = valid ? (group / kLimbs * 8 * kMaxLimbs + group % kLimbs) * rowChunks + step * (static_cast<int>(kRowTile) / 16) : 0;
      copyAsync16(stage + kBitBytes + to + k * (kProductThreads / 8) * static_cast<int>(kRowTile), from + chunk * 16, valid);
    }
  };

  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) load(step);
    commitCopies();
  }
  for (int step = 0; step < steps; ++step) {
    waitCopies<kStages - 2>();
    __syncthreads();
    if (step + kStages - 1 < steps) load(step + kStages - 1);
    commitCopies();
    multiplyStage(shared + step % kStages * kStageBytes, warpColumn, sums);
  }
  writeCorrelations<kLimbs>(design, slots, commands, first, count, firstTarget, firstColumn + warpColumn, sums);
}

__global__ void __launch_bounds__(kThreads) largestKernel(DesignView design, SlotsView slots, const Command* commands, Outcome* outcomes) {
  __shared__ double scratch[kWarps];
  const Command& command = commands[blockIdx.x];
  const double* correlation = slots.correlation + command.lane * design.columns;
  const int32_t* seen = design.seen + command.rowSet * design.columns;
  double largest = 0;
  for (int64_t j = threadIdx.x; j < design.columns; j += kThreads) {
    if (seen[j] == 0 || seen[j] == command.count) continue;
    const double size = fabs(correlation[j]) / factorOf(design, seen[j], command.count);
    largest = size > largest ? size : largest;
  }
  largest = blockMax(largest, scratch);
  if (threadIdx.x == 0) outcomes[command.lane].largest = largest;
}

}  // namespace

void correlate(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t first, int64_t count, int limbs) {
  if (count == 0) return;
  const int64_t targets = kSides / limbs;
  const dim3 grid(static_cast<unsigned>((design.columns + kColumns - 1) / kColumns), static_cast<unsigned>((count + targets - 1) / targets));
  launch(grid, dim3(kProductThreads), kStages * kStageBytes, limbs == kPathLimbs ? correlateKernel<kPathLimbs> : correlateKernel<kExactLimbs>, design, slots,
         commands, first, count);
}

void findLargest(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t count, Outcome* outcomes) {
  if (count == 0) return;
  launch(dim3(static_cast<unsigned>(count)), dim3(kThreads), 0, largestKernel, design, slots, commands, outcomes);
}

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
