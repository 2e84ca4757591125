// A step of one target's path, a block each: columns join the working set, their pairs are looked up or counted from the bits, coordinate
// descent in double on H_jk = pairs - seen_j seen_k / count, and the errors of the new solution on held-out models.
#include "cuda/lasso/device.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

constexpr int kStepThreads = 64, kStepWarps = kStepThreads / 32;  // few: descent is a chain of short steps with barriers in between
constexpr int64_t kStaticShared = 1024;                           // bytes a block has for other things, at most

struct Target {
  const DesignView& design;
  const Command& command;
  SetView set;
  const int32_t* seen;
  uint32_t* member;

  __device__ double factor(int64_t column) const { return factorOf(design, seen[column], command.count); }
};

// Columns whose correlation reaches the entry join in ascending order; every warp looks at a range of its own. Returns how many, -1 when
// the capacity does not hold them: then nothing has changed and *size is what it would have been.
__device__ int32_t admit(const Target& target, const double* correlation, int32_t* size, int32_t* warpCounts) {
  const DesignView& design = target.design;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t words = (design.columns + 31) / 32, span = (words + kStepWarps - 1) / kStepWarps;
  const int64_t from = warp * span, to = from + span < words ? from + span : words;
  const auto joins = [&](int64_t word) {
    const int64_t j = word * 32 + lane;
    if (j >= design.columns || (target.member[word] >> lane & 1) || target.seen[j] == 0 || target.seen[j] == target.command.count) return false;
    return fabs(correlation[j]) >= target.command.entry * target.factor(j);
  };
  int32_t count = 0;
  for (int64_t word = from; word < to; ++word) count += __popc(__ballot_sync(0xFFFFFFFFu, joins(word)));
  if (lane == 0) warpCounts[warp] = count;
  __syncthreads();
  int32_t before = 0, all = 0;
  for (int k = 0; k < kStepWarps; ++k) {
    if (k < warp) before += warpCounts[k];
    all += warpCounts[k];
  }
  const int32_t old = *size;
  *size = old + all;
  if (*size > target.command.capacity) return -1;
  int32_t at = old + before;
  for (int64_t word = from; word < to; ++word) {
    const bool joining = joins(word);
    const uint32_t ballot = __ballot_sync(0xFFFFFFFFu, joining);
    if (joining) {
      const int32_t position = at + __popc(ballot & ((1u << lane) - 1));
      target.set.columns[position] = static_cast<int32_t>(word * 32 + lane);
      target.set.weight[position] = target.set.previous[position] = target.set.best[position] = 0;
    }
    __syncwarp();
    if (lane == 0) target.member[word] |= ballot;
    __syncwarp();
    at += __popc(ballot);
  }
  __syncthreads();
  return all;
}

// Pairs of members [counted, size) with all members: a warp counts 4 x 4 of them at once, its lanes on words of their own.
__device__ void countPairs(const Target& target, int32_t counted, int32_t size) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const DesignView& design = target.design;
  const uint32_t* inside = design.rowSetRows + target.command.rowSet * design.words;
  const int64_t across = (size + 3) / 4, down = (size - counted + 3) / 4;
  for (int64_t tile = warp; tile < across * down; tile += kStepWarps) {
    const int32_t p0 = counted + static_cast<int32_t>(tile / across) * 4, q0 = static_cast<int32_t>(tile % across) * 4;
    if (q0 > p0 + 3) continue;  // the other triangle
    const uint32_t *rows[4], *others[4];
    for (int k = 0; k < 4; ++k) {
      rows[k] = design.bits + target.set.columns[p0 + k < size ? p0 + k : size - 1] * design.words;
      others[k] = design.bits + target.set.columns[q0 + k < size ? q0 + k : size - 1] * design.words;
    }
    int32_t sums[16] = {};
    for (int64_t word = lane; word < design.words; word += 32) {
      const uint32_t mask = inside[word];
      uint32_t a[4], b[4];
      for (int k = 0; k < 4; ++k) {
        a[k] = rows[k][word] & mask;
        b[k] = others[k][word];
      }
      for (int k = 0; k < 16; ++k) sums[k] += __popc(a[k / 4] & b[k % 4]);
    }
    // halves of the sums change hands until every lane pair holds one: 16 shuffles instead of 80
    LETHE_UNROLL
    for (int level = 3; level >= 0; --level) {  // counted so that it is unrolled: else the sums lie in memory
      const int half = 1 << level;
      const bool upper = lane & (2 * half);
      LETHE_UNROLL
      for (int k = 0; k < 8; ++k) {
        if (k >= half) continue;
        const int32_t give = upper ? sums[k] : sums[k + half], keep = upper ? sums[k + half] : sums[k];
        sums[k] = keep + __shfl_xor_sync(0xFFFFFFFFu, give, 2 * half);
      }
    }
    const int32_t sum = sums[0] + __shfl_xor_sync(0xFFFFFFFFu, sums[0], 1);
    const int32_t p = p0 + lane / 2 / 4, q = q0 + lane / 2 % 4;
    if (lane % 2 == 0 && p < size && q <= p) {
      target.set.pairs[p * target.command.capacity + q] = static_cast<uint16_t>(sum);
      target.set.pairs[q * target.command.capacity + p] = static_cast<uint16_t>(sum);
    }
  }
  __syncthreads();
}

// The same from the table of all pairs: a warp a member.
__device__ void lookUpPairs(const Target& target, int32_t counted, int32_t size) {
  const DesignView& design = target.design;
  const uint16_t* table = design.pairs + target.command.rowSet * design.columns * design.pairStride;
  const int64_t capacity = target.command.capacity;
  for (int32_t p = counted + static_cast<int32_t>(threadIdx.x) / 32; p < size; p += kStepWarps) {
    const uint16_t* row = table + target.set.columns[p] * design.pairStride;
    for (int32_t q = static_cast<int32_t>(threadIdx.x) % 32; q <= p; q += 32) {
      const uint16_t pairs = row[target.set.columns[q]];
      target.set.pairs[p * capacity + q] = pairs;
      target.set.pairs[q * capacity + p] = pairs;
    }
  }
  __syncthreads();
}

// One pass over the members, or over those with weight; returns the largest step in gradients as a share of the penalty. Every thread
// decides alike from the same numbers and moves the gradients of its own members.
__device__ double sweep(const Target& target, double* gradient, int32_t size, bool activeOnly) {
  const int thread = static_cast<int>(threadIdx.x);
  double largest = 0;
  for (int32_t p = 0; p < size; ++p) {
    const double before = target.set.weight[p];
    if (activeOnly && before == 0) continue;
    const int32_t seen = target.set.seen[p];
    const double share = static_cast<double>(seen) / target.command.count, diagonal = seen * (1 - share);
    const double penalty = target.command.penalty * factorOf(target.design, seen, target.command.count);
    const double g = gradient[p], pull = g + diagonal * before;
    if (before == 0 && pull <= penalty && pull >= -penalty) continue;
    // steps, not new values: a fixed point then has |g| = penalty exactly, whatever the rounding of the diagonal
    const double change = pull > penalty ? (g - penalty) / diagonal : pull < -penalty ? (g + penalty) / diagonal : -before;
    const double after = pull > penalty || pull < -penalty ? before + change : 0.0;
    __syncthreads();  // everyone has read this member
    const uint16_t* row = target.set.pairs + p * target.command.capacity;
    for (int32_t q = thread; q < size; q += kStepThreads) gradient[q] -= change * (row[q] - share * target.set.seen[q]);
    if (thread == 0) target.set.weight[p] = after;
    __syncthreads();
    const double moved = fabs(change) * diagonal / penalty;
    largest = moved > largest ? moved : largest;
  }
  return largest;
}

__device__ void descend(const Target& target, double* gradient, int32_t size, double tolerance) {
  int32_t sweeps = 0;
  while (sweeps < target.command.maxSweeps) {
    ++sweeps;
    if (sweep(target, gradient, size, false) <= tolerance) return;
    while (sweeps < target.command.maxSweeps) {
      ++sweeps;
      if (sweep(target, gradient, size, true) <= tolerance) break;
    }
  }
}

// Products of the errors of this solution and the one before; stores this one's. In units of the fitted models' deviation.
__device__ void heldOutErrors(const Target& target, const SlotsView& slots, int32_t size, double* scratch, Outcome& outcome) {
  const Command& command = target.command;
  const DesignView& design = target.design;
  const float* raw = slots.raw + command.slot * design.words * 32;
  const uint32_t* known = design.rowSetRows + design.all * design.words;
  double* stored = slots.heldOut + command.slot * slots.heldCapacity;
  const double mean = outcome.mean, scale = outcome.scale;
  double shift = 0;  // the intercept: target and columns are centred on the fitted models
  for (int32_t p = static_cast<int32_t>(threadIdx.x); p < size; p += kStepThreads) shift += target.set.weight[p] * target.set.seen[p];
  shift = blockSum(shift, scratch) / command.count;
  double before = 0, mixed = 0, now = 0;
  for (int32_t row = command.heldFrom + static_cast<int32_t>(threadIdx.x); row < command.heldTo; row += kStepThreads) {
    const int32_t word = row / 32, bit = row % 32;
    if (!(known[word] >> bit & 1)) continue;
    const double value = (static_cast<double>(raw[row]) - mean) / scale;
    double rest = value + shift;
    for (int32_t p = 0; p < size; ++p) {
      const double weight = target.set.weight[p];
      if (weight != 0 && (design.bits[target.set.columns[p] * design.words + word] >> bit & 1)) rest -= weight;
    }
    const double old = command.firstStep ? value : stored[row - command.heldFrom];
    stored[row - command.heldFrom] = rest;
    before += old * old;
    mixed += old * rest;
    now += rest * rest;
  }
  before = blockSum(before, scratch);
  mixed = blockSum(mixed, scratch);
  now = blockSum(now, scratch);
  if (threadIdx.x != 0) return;
  outcome.heldBefore = before;
  outcome.heldMixed = mixed;
  outcome.heldNow = now;
}

__global__ void __launch_bounds__(kStepThreads)
    stepKernel(DesignView design, SlotsView slots, const Command* commands, bool sharedGradient, Outcome* outcomes) {
  __shared__ double scratch[kStepWarps];
  __shared__ int32_t warpCounts[kStepWarps];
  const Command& command = commands[blockIdx.x];
  const int thread = static_cast<int>(threadIdx.x);
  Outcome& outcome = outcomes[command.lane];
  int32_t* state = slots.state + command.slot * 2;
  const Target target{design, command, setAt(command.set, command.capacity), design.seen + command.rowSet * design.columns,
                      slots.member + command.slot * ((design.columns + 31) / 32)};
  const double* correlation = slots.correlation + command.lane * design.columns;
  int32_t size = state[0];
  const int32_t counted = state[1], admitted = admit(target, correlation, &size, warpCounts);
  if (admitted < 0) {
    if (thread == 0) {
      outcome.size = size;
      outcome.admitted = 0;
    }
    return;
  }
  if (command.rowSet < design.tables) lookUpPairs(target, counted, size);
  else countPairs(target, counted, size);
  double* gradient = sharedGradient ? dynamicShared<double>() : target.set.gradient;
  for (int32_t p = thread; p < size; p += kStepThreads) {
    const int32_t column = target.set.columns[p];
    gradient[p] = correlation[column];
    target.set.seen[p] = target.seen[column];
    target.set.previous[p] = target.set.weight[p];
  }
  __syncthreads();
  descend(target, gradient, size, command.tolerance * (admitted == 0 ? command.tightening : 1.0));
  if (command.heldTo > command.heldFrom) heldOutErrors(target, slots, size, scratch, outcome);
  if (thread != 0) return;
  state[0] = state[1] = size;
  outcome.size = size;
  outcome.admitted = admitted;
}

__global__ void __launch_bounds__(kStepThreads) growKernel(SetView from, int64_t fromCapacity, SetView to, int64_t toCapacity, int64_t size, int64_t counted) {
  const int64_t p = blockIdx.x;
  for (int64_t q = threadIdx.x; p < counted && q < counted; q += kStepThreads) to.pairs[p * toCapacity + q] = from.pairs[p * fromCapacity + q];
  if (threadIdx.x != 0 || p >= size) return;
  to.weight[p] = from.weight[p];
  to.previous[p] = from.previous[p];
  to.best[p] = from.best[p];
  to.columns[p] = from.columns[p];
}

}  // namespace

void takeSteps(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t count, int64_t capacity, Outcome* outcomes) {
  if (count == 0) return;
  const bool sharedGradient = capacity * 8 <= mostSharedBytes() - kStaticShared;
  launch(dim3(static_cast<unsigned>(count)), dim3(kStepThreads), sharedGradient ? capacity * 8 : 0, stepKernel, design, slots, commands, sharedGradient,
         outcomes);
}

void growSet(uint8_t* from, int64_t fromCapacity, uint8_t* to, int64_t toCapacity, int64_t size, int64_t counted) {
  if (size == 0) return;
  launch(dim3(static_cast<unsigned>(size)), dim3(kStepThreads), 0, growKernel, setAt(from, fromCapacity), fromCapacity, setAt(to, toCapacity), toCapacity, size,
         counted);
}

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
