// Spearman's rank correlation on the GPU. Contract: lethe/evaluate.h. Columns are turned into rows first; then a block of threads sorts the
// models of one point by a bitonic network, in shared memory where they fit and in global memory beyond. Ranks count twice, so that
// averages of ties are integers and all sums are exact: results depend on no order.
#include <cmath>
#include <limits>

#include "cuda/base/over_devices.h"
#include "lethe/evaluate/evaluate.h"

namespace lethe {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int kTile = 32;
constexpr int64_t kMostModels = int64_t{1} << 20;    // the sums of cubes stay below 2^63
constexpr int64_t kMostInShared = 8192;              // keys and ranks: 96 KiB
constexpr int64_t kMostBlockBytes = int64_t{1} << 30;

// y (columns, rows) = x (rows, columns) transposed; 32 x 8 threads a tile.
__global__ void transpose(const float* x, float* y, int64_t rows, int64_t columns) {
  __shared__ float tile[kTile][kTile + 1];
  const int64_t row = static_cast<int64_t>(blockIdx.y) * kTile, column = static_cast<int64_t>(blockIdx.x) * kTile;
  for (unsigned k = threadIdx.y; k < kTile; k += blockDim.y) {
    if (row + k < rows && column + threadIdx.x < columns) tile[k][threadIdx.x] = x[(row + k) * columns + column + threadIdx.x];
  }
  __syncthreads();
  for (unsigned k = threadIdx.y; k < kTile; k += blockDim.y) {
    if (column + k < columns && row + threadIdx.x < rows) y[(column + k) * rows + row + threadIdx.x] = tile[threadIdx.x][k];
  }
}

struct Task {
  const float* sides[2];  // (points, models)
  int64_t points, models, padded;  // padded: models rounded up to a power of two
  uint8_t* workspace;     // (blocks, padded) keys, then (blocks, padded) ranks; null: they lie in shared memory
  double* correlation;    // (points)
  int32_t* result;        // (points): 0 defined, 1 constant, 2 non-finite
};

// Ascending order of floats as that of unsigned integers; both zeros are equal.
__device__ __forceinline__ uint32_t orderedBits(float value) {
  const float positive = value + 0.f;
  uint32_t bits;
  memcpy(&bits, &positive, 4);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// All threads of the block; ends with a barrier. count: a power of two.
__device__ void sortKeys(uint64_t* keys, int64_t count) {
  for (int64_t run = 2; run <= count; run *= 2) {
    for (int64_t distance = run / 2; distance > 0; distance /= 2) {
      for (int64_t k = threadIdx.x; k < count / 2; k += blockDim.x) {
        const int64_t lower = k / distance * 2 * distance + k % distance, upper = lower + distance;
        const uint64_t a = keys[lower], b = keys[upper];
        const bool ascending = (lower & run) == 0;
        if ((a > b) == ascending) {
          keys[lower] = b;
          keys[upper] = a;
        }
      }
      __syncthreads();
    }
  }
}

// First position whose upper half is at least `value`.
__device__ __forceinline__ int64_t lowerBound(const uint64_t* keys, int64_t count, uint64_t value) {
  int64_t begin = 0, end = count;
  while (begin < end) {
    const int64_t middle = (begin + end) / 2;
    if (keys[middle] >> 32 < value) begin = middle + 1;
    else end = middle;
  }
  return begin;
}

// Twice the distance of the rank of sorted position k from the mean rank.
__device__ __forceinline__ int64_t centredRank(const uint64_t* keys, int64_t models, int64_t k) {
  const uint64_t value = keys[k] >> 32;
  const bool tied = (k > 0 && keys[k - 1] >> 32 == value) || (k + 1 < models && keys[k + 1] >> 32 == value);
  const int64_t begin = tied ? lowerBound(keys, models, value) : k, end = tied ? lowerBound(keys, models, value + 1) : k + 1;
  return begin + 1 + end - (models + 1);
}

__global__ void correlatePoints(Task task) {
  __shared__ int nonFinite;
  __shared__ unsigned long long sums[3];  // cross, both squares; two's complement
  uint8_t* memory = task.workspace ? task.workspace + blockIdx.x * task.padded * 12 : dynamicShared<uint8_t>();
  uint64_t* keys = reinterpret_cast<uint64_t*>(memory);
  int32_t* ranks = reinterpret_cast<int32_t*>(memory + task.padded * 8);
  for (int64_t point = blockIdx.x; point < task.points; point += gridDim.x) {
    if (threadIdx.x == 0) nonFinite = 0;
    if (threadIdx.x < 3) sums[threadIdx.x] = 0;
    __syncthreads();
    bool constant = false;
    for (int s = 0; s < 2; ++s) {
      const float* row = task.sides[s] + point * task.models;
      for (int64_t m = threadIdx.x; m < task.padded; m += blockDim.x) {
        const float value = m < task.models ? row[m] : 0.f;
        if (!(value - value == 0)) atomicOr(&nonFinite, 1);
        keys[m] = m < task.models ? static_cast<uint64_t>(orderedBits(value)) << 32 | static_cast<uint64_t>(m) : ~uint64_t{0};
      }
      __syncthreads();
      sortKeys(keys, task.padded);
      constant |= keys[0] >> 32 == keys[task.models - 1] >> 32;
      int64_t cross = 0, square = 0;
      for (int64_t k = threadIdx.x; k < task.models; k += blockDim.x) {
        const int64_t rank = centredRank(keys, task.models, k);
        int32_t& other = ranks[keys[k] & 0xFFFFFFFFu];
        if (s == 1) cross += rank * other;
        else other = static_cast<int32_t>(rank);
        square += rank * rank;
      }
      atomicAdd(&sums[1 + s], static_cast<unsigned long long>(square));
      if (s == 1) atomicAdd(&sums[0], static_cast<unsigned long long>(cross));
      __syncthreads();
    }
    if (threadIdx.x == 0) {
      const bool defined = !constant && nonFinite == 0;
      const double cross = static_cast<double>(static_cast<int64_t>(sums[0]));
      const double product = static_cast<double>(static_cast<int64_t>(sums[1])) * static_cast<double>(static_cast<int64_t>(sums[2]));
      task.correlation[point] = defined ? cross / std::sqrt(product) : kNaN;
      task.result[point] = nonFinite ? 2 : constant ? 1 : 0;
    }
    __syncthreads();
  }
}

// ---------------------------------------------------------------- host code

// Threads of a block: a pair of keys each at best, whole warps.
unsigned threadsFor(int64_t padded) { return static_cast<unsigned>(std::clamp<int64_t>(padded / 2, 32, 1024)); }

}  // namespace

Status LETHE_PER_ISA(spearmanOnGpu)(const float* predicted, const float* actual, int64_t models, int64_t points, int64_t stride, const GpuOptions& gpu,
                                    double* correlation, int64_t& numConstant, int64_t& numNonFinite, const TaskControl& control) {
  numConstant = numNonFinite = 0;
  if (models == 0) {
    std::fill_n(correlation, points, kNaN);
    return Status::success();
  }
  if (models < 1 || models > kMostModels) {
    return Status::error("LETHE_MODELS_TOO_MANY", "ranks on the GPU: expected 1 to " + std::to_string(kMostModels) + " models; received " +
                                                      std::to_string(models) + ". Use the CPU (--device cpu).");
  }
  int64_t padded = 2;
  while (padded < models) padded *= 2;
  const bool shared = padded <= kMostInShared;
  std::atomic<int64_t> constant{0}, bad{0};
  const Status status = overDevices(gpu, points, control, [&](int64_t begin, int64_t end, const auto& done) {
    const int64_t blocks = shared ? std::min<int64_t>(end - begin, 1 << 20) : std::min<int64_t>(end - begin, 2 * multiprocessors());
    const int64_t workspaceBytes = shared ? 0 : blocks * padded * 12, pointBytes = models * 12;
    const int64_t most = std::max<int64_t>(kMostBlockBytes / pointBytes, kTile);
    const int64_t block = itemsThatFit(end - begin, kTile, most, workspaceBytes, pointBytes + 12, memoryOf(gpu));
    // columns of one side, then rows of both
    const DeviceMemory columns(block * models * 4), first(block * models * 4), second(block * models * 4), workspace(workspaceBytes), values(block * 8),
        results(block * 4);
    std::vector<int32_t> outcome(static_cast<size_t>(block));
    Task task{{static_cast<const float*>(first.data()), static_cast<const float*>(second.data())},
              0,
              models,
              padded,
              static_cast<uint8_t*>(workspace.data()),
              static_cast<double*>(values.data()),
              static_cast<int32_t*>(results.data())};
    for (int64_t at = begin; at < end; at += block) {
      task.points = std::min(block, end - at);
      for (const auto& [from, to] : {std::pair{predicted, &first}, std::pair{actual, &second}}) {
        uploadRows(columns.data(), task.points * 4, from + at, stride * 4, task.points * 4, models);
        launch(dim3(static_cast<unsigned>((task.points + kTile - 1) / kTile), static_cast<unsigned>((models + kTile - 1) / kTile)), dim3(kTile, 8), 0,
               transpose, static_cast<const float*>(columns.data()), static_cast<float*>(to->data()), models, task.points);
      }
      launch(dim3(static_cast<unsigned>(std::min(blocks, task.points))), dim3(threadsFor(padded)), shared ? padded * 12 : 0, correlatePoints, task);
      download(correlation + at, values.data(), task.points * 8);
      download(outcome.data(), results.data(), task.points * 4);
      constant += std::count(outcome.begin(), outcome.begin() + task.points, 1);
      bad += std::count(outcome.begin(), outcome.begin() + task.points, 2);
      if (!done(task.points)) return;
    }
  });
  numConstant = constant;
  numNonFinite = bad;
  return status;
}

}  // namespace lethe
