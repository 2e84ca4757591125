// From weights to a quantised residual: one block a target. Rows are taken 128 at a time by a warp, one row of every word by a lane.
#include "cuda/lasso/device.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

// Calls visit(row, quad, e): row = quad * 128 + e * 32 + lane, of word quad * 4 + e.
template <typename Visit>
__device__ __forceinline__ void forRows(int64_t words, const Visit& visit) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int64_t word = static_cast<int64_t>(threadIdx.x) / 32; word < words; word += kWarps) visit(word * 32 + lane, word, lane);
}

// In place: members come to lie further in front. One thread: it happens once a target.
__device__ void takeBest(const SetView& set, int32_t* state, uint32_t* member, double ratio) {
  int32_t kept = 0;
  for (int32_t p = 0; p < state[0]; ++p) {
    const int32_t column = set.columns[p];
    if (set.best[p] == 0) {
      member[column / 32] &= ~(1u << (column % 32));
      continue;
    }
    set.columns[kept] = column;
    set.weight[kept] = set.best[p] * ratio;
    set.previous[kept] = 0;
    ++kept;
  }
  for (int32_t p = 0; p < kept; ++p) set.best[p] = 0;
  state[0] = kept;
  state[1] = 0;
}

// What every thread of a block knows of its command.
struct Residual {
  const DesignView& design;
  const Command& command;
  const float* raw;
  const uint32_t *inside, *known;  // (words) rows of the set, rows with a model
  SetView set;
  double* residual;
  double* scratch;  // (kWarps) shared
  int thread;

  __device__ double count() const { return command.count; }
};

struct Standard {
  double mean = 0, scale = 1, held = 0;
  bool usable = false;
};

// Mean and deviation of the target on the row set, and the squared error of the mean on the held-out rows.
__device__ Standard standardise(const Residual& at) {
  double sum = 0;
  forRows(at.design.words, [&](int64_t row, int64_t word, int bit) {
    if (at.inside[word] >> bit & 1) sum += static_cast<double>(at.raw[row]);
  });
  Standard standard;
  standard.mean = blockSum(sum, at.scratch) / at.count();
  double squares = 0, held = 0, largest = 0;
  forRows(at.design.words, [&](int64_t row, int64_t word, int bit) {
    const double value = static_cast<double>(at.raw[row]), centred = value - standard.mean;
    if (at.inside[word] >> bit & 1) {
      squares += centred * centred;
      if (fabs(value) > largest) largest = fabs(value);
    }
    if (row >= at.command.heldFrom && row < at.command.heldTo && (at.known[word] >> bit & 1)) held += centred * centred;
  });
  const double spread = sqrt(blockSum(squares, at.scratch) / at.count());
  largest = blockMax(largest, at.scratch);
  standard.held = blockSum(held, at.scratch);
  standard.usable = spread > 1e-14 * largest;  // below this the spread is rounding noise of the mean
  if (standard.usable) standard.scale = spread;
  return standard;
}

// The working set as the command wants it. Returns its size.
__device__ int32_t restart(const Residual& at, const SlotsView& slots, double scale) {
  const Command& command = at.command;
  const int64_t memberWords = (at.design.columns + 31) / 32;
  uint32_t* member = slots.member + command.slot * memberWords;
  int32_t* state = slots.state + command.slot * 2;
  if (command.restart == Restart::empty) {
    for (int64_t k = at.thread; k < memberWords; k += kThreads) member[k] = 0;
    if (at.thread < 2) state[at.thread] = 0;
  } else if (command.bestShare >= 0) {
    for (int32_t p = at.thread; p < state[0]; p += kThreads) {
      at.set.best[p] = (1 - command.bestShare) * at.set.weight[p] + command.bestShare * at.set.previous[p];
    }
  }
  __syncthreads();
  if (command.restart == Restart::best && at.thread == 0) takeBest(at.set, state, member, command.bestScale / scale);
  __syncthreads();
  return state[0];
}

// What the weights leave of the target, centred, 0 outside of the row set. Its sums go into the outcome. Returns the largest of it.
__device__ double leave(const Residual& at, const Standard& standard, int32_t size, Outcome& sums) {
  const int lane = at.thread % 32;
  double sum = 0;
  for (int64_t quad = at.thread / 32; quad < at.design.words / 4; quad += kWarps) {
    double rest[4];
    for (int e = 0; e < 4; ++e) rest[e] = (static_cast<double>(at.raw[quad * 128 + e * 32 + lane]) - standard.mean) / standard.scale;
    for (int32_t p = 0; p < size; ++p) {
      const double weight = at.set.weight[p];
      if (weight == 0) continue;
      const uint4 word = *reinterpret_cast<const uint4*>(at.design.bits + at.set.columns[p] * at.design.words + quad * 4);
      if (word.x >> lane & 1) rest[0] -= weight;
      if (word.y >> lane & 1) rest[1] -= weight;
      if (word.z >> lane & 1) rest[2] -= weight;
      if (word.w >> lane & 1) rest[3] -= weight;
    }
    for (int e = 0; e < 4; ++e) {
      const bool used = at.inside[quad * 4 + e] >> lane & 1;
      at.residual[quad * 128 + e * 32 + lane] = rest[e];
      if (used) sum += rest[e];
    }
  }
  const double offset = blockSum(sum, at.scratch) / at.count();
  double norm = 0, product = 0, penalised = 0, largest = 0;
  for (int64_t quad = at.thread / 32; quad < at.design.words / 4; quad += kWarps) {
    for (int e = 0; e < 4; ++e) {
      const int64_t row = quad * 128 + e * 32 + lane;
      const double r = at.inside[quad * 4 + e] >> lane & 1 ? at.residual[row] - offset : 0.0;
      at.residual[row] = r;
      norm += r * r;
      product += r * ((static_cast<double>(at.raw[row]) - standard.mean) / standard.scale);
      if (fabs(r) > largest) largest = fabs(r);
    }
  }
  const int32_t* seen = at.design.seen + at.command.rowSet * at.design.columns;
  for (int32_t p = at.thread; p < size; p += kThreads) {
    penalised += fabs(at.set.weight[p]) * factorOf(at.design, seen[at.set.columns[p]], at.command.count);
  }
  sums.squares = blockSum(norm, at.scratch);
  sums.product = blockSum(product, at.scratch);
  sums.penalised = blockSum(penalised, at.scratch);
  return blockMax(largest, at.scratch);
}

// Digits of base 256 between -128 and 127, lowest first, in units of `unit`. Returns their sum: whole numbers below 2^53, exact in any order.
__device__ double quantise(const Residual& at, const SlotsView& slots, int limbs, double unit) {
  const int64_t rows = at.design.words * 32;
  const int lane = at.thread % 32;
  double total = 0;
  for (int64_t quad = at.thread / 32; quad < at.design.words / 4; quad += kWarps) {
    for (int e = 0; e < 4; ++e) {
      int64_t digits = llrint(at.residual[quad * 128 + e * 32 + lane] / unit);
      total += static_cast<double>(digits);
      int8_t* to = slots.limbs + at.command.lane * kMaxLimbs * rows + quad * 128 + e * 32 + 4 * (lane % 8) + lane / 8;
      for (int limb = 0; limb < limbs; ++limb) {
        const int64_t digit = ((digits + 128) & 255) - 128;
        to[limb * rows] = static_cast<int8_t>(digit);
        digits = (digits - digit) / 256;
      }
    }
  }
  return blockSum(total, at.scratch);
}

__global__ void __launch_bounds__(kThreads) residualKernel(DesignView design, SlotsView slots, const Command* commands, int limbs, Outcome* outcomes) {
  __shared__ double scratch[kWarps];
  const Command& command = commands[blockIdx.x];
  const int64_t rows = design.words * 32;
  const Residual at{design,
                    command,
                    slots.raw + command.slot * rows,
                    design.rowSetRows + command.rowSet * design.words,
                    design.rowSetRows + design.all * design.words,
                    setAt(command.set, command.capacity),
                    slots.residual + command.lane * rows,
                    scratch,
                    static_cast<int>(threadIdx.x)};
  const Standard standard = standardise(at);
  const int32_t size = restart(at, slots, standard.scale);
  Outcome sums;
  const double largest = leave(at, standard, size, sums);
  const double unit = largest > 0 ? largest / (limbs == kPathLimbs ? 127.0 * 257 : 127.0 * 16843009) : 1.0;
  const double total = quantise(at, slots, limbs, unit);
  if (at.thread != 0) return;
  slots.unit[command.lane] = unit;
  slots.total[command.lane] = static_cast<int64_t>(total);
  Outcome& outcome = outcomes[command.lane];
  outcome.mean = standard.mean;
  outcome.scale = standard.scale;
  outcome.usable = standard.usable;
  outcome.squares = sums.squares;
  outcome.product = sums.product;
  outcome.penalised = sums.penalised;
  outcome.zeroHeldOut = standard.held / (standard.scale * standard.scale);
  outcome.size = size;
}

}  // namespace

void computeResiduals(const DesignView& design, const SlotsView& slots, const Command* commands, int64_t count, int limbs, Outcome* outcomes) {
  if (count == 0) return;
  launch(dim3(static_cast<unsigned>(count)), dim3(kThreads), 0, residualKernel, design, slots, commands, limbs, outcomes);
}

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
