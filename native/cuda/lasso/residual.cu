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

__global__ void __launch_bounds__(kThreads) residualKernel(DesignView design, SlotsView slots, const Command* commands, int limbs, Outcome* outcomes) {
  __shared__ double scratch[kWarps];
  const Command& command = commands[blockIdx.x];
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t rows = design.words * 32;
  const double count = command.count;
  const float* raw = slots.raw + command.slot * rows;
  const uint32_t* inside = design.rowSetRows + command.rowSet * design.words;
  const uint32_t* known = design.rowSetRows + design.all * design.words;
  int32_t* state = slots.state + command.slot * 2;
  const SetView set = setAt(command.set, command.capacity);

  double sum = 0;
  forRows(design.words, [&](int64_t row, int64_t word, int bit) {
    if (inside[word] >> bit & 1) sum += static_cast<double>(raw[row]);
  });
  const double mean = blockSum(sum, scratch) / count;
  double squares = 0, held = 0, largest = 0;
  forRows(design.words, [&](int64_t row, int64_t word, int bit) {
    const double value = static_cast<double>(raw[row]), centred = value - mean;
    if (inside[word] >> bit & 1) {
      squares += centred * centred;
      if (fabs(value) > largest) largest = fabs(value);
    }
    if (row >= command.heldFrom && row < command.heldTo && (known[word] >> bit & 1)) held += centred * centred;
  });
  const double spread = sqrt(blockSum(squares, scratch) / count);
  largest = blockMax(largest, scratch);
  held = blockSum(held, scratch);
  const bool usable = spread > 1e-14 * largest;  // below this the spread is rounding noise of the mean
  const double scale = usable ? spread : 1;

  uint32_t* member = slots.member + command.slot * ((design.columns + 31) / 32);
  if (command.restart == Restart::empty) {
    for (int64_t k = thread; k < (design.columns + 31) / 32; k += kThreads) member[k] = 0;
    if (thread < 2) state[thread] = 0;
  } else if (command.bestShare >= 0) {
    for (int32_t p = thread; p < state[0]; p += kThreads) {
      set.best[p] = (1 - command.bestShare) * set.weight[p] + command.bestShare * set.previous[p];
    }
  }
  __syncthreads();
  if (command.restart == Restart::best && thread == 0) takeBest(set, state, member, command.bestScale / scale);
  __syncthreads();
  const int32_t size = state[0];

  // what the weights leave of the target
  double* residual = slots.residual + command.lane * rows;
  sum = 0;
  const int lane = thread % 32;
  for (int64_t quad = thread / 32; quad < design.words / 4; quad += kWarps) {
    double rest[4];
    for (int e = 0; e < 4; ++e) rest[e] = (static_cast<double>(raw[quad * 128 + e * 32 + lane]) - mean) / scale;
    for (int32_t p = 0; p < size; ++p) {
      const double weight = set.weight[p];
      if (weight == 0) continue;
      const uint4 word = *reinterpret_cast<const uint4*>(design.bits + set.columns[p] * design.words + quad * 4);
      if (word.x >> lane & 1) rest[0] -= weight;
      if (word.y >> lane & 1) rest[1] -= weight;
      if (word.z >> lane & 1) rest[2] -= weight;
      if (word.w >> lane & 1) rest[3] -= weight;
    }
    for (int e = 0; e < 4; ++e) {
      const bool used = inside[quad * 4 + e] >> lane & 1;
      residual[quad * 128 + e * 32 + lane] = rest[e];
      if (used) sum += rest[e];
    }
  }
  const double offset = blockSum(sum, scratch) / count;
  double norm = 0, product = 0, penalised = 0;
  largest = 0;
  for (int64_t quad = thread / 32; quad < design.words / 4; quad += kWarps) {
    for (int e = 0; e < 4; ++e) {
      const int64_t row = quad * 128 + e * 32 + lane;
      const double r = inside[quad * 4 + e] >> lane & 1 ? residual[row] - offset : 0.0;
      residual[row] = r;
      norm += r * r;
      product += r * ((static_cast<double>(raw[row]) - mean) / scale);
      if (fabs(r) > largest) largest = fabs(r);
    }
  }
  const int32_t* seen = design.seen + command.rowSet * design.columns;
  for (int32_t p = thread; p < size; p += kThreads) {
    penalised += fabs(set.weight[p]) * factorOf(design, seen[set.columns[p]], command.count);
  }
  norm = blockSum(norm, scratch);
  product = blockSum(product, scratch);
  penalised = blockSum(penalised, scratch);
  largest = blockMax(largest, scratch);

  // digits of base 256 between -128 and 127, lowest first
  const double unit = largest > 0 ? largest / (limbs == kPathLimbs ? 127.0 * 257 : 127.0 * 16843009) : 1.0;
  double total = 0;  // of whole numbers below 2^53: exact in any order
  for (int64_t quad = thread / 32; quad < design.words / 4; quad += kWarps) {
    for (int e = 0; e < 4; ++e) {
      int64_t digits = llrint(residual[quad * 128 + e * 32 + lane] / unit);
      total += static_cast<double>(digits);
      int8_t* to = slots.limbs + command.lane * kMaxLimbs * rows + quad * 128 + e * 32 + 4 * (lane % 8) + lane / 8;
      for (int limb = 0; limb < limbs; ++limb) {
        const int64_t digit = ((digits + 128) & 255) - 128;
        to[limb * rows] = static_cast<int8_t>(digit);
        digits = (digits - digit) / 256;
      }
    }
  }
  total = blockSum(total, scratch);
  if (thread != 0) return;
  slots.unit[command.lane] = unit;
  slots.total[command.lane] = static_cast<int64_t>(total);
  Outcome& outcome = outcomes[command.lane];
  outcome.mean = mean;
  outcome.scale = scale;
  outcome.usable = usable;
  outcome.squares = norm;
  outcome.product = product;
  outcome.penalised = penalised;
  outcome.zeroHeldOut = held / (scale * scale);
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
