// The marginal estimator needs one thing of the device: the correlations of each target with all columns. The rest, the search for lambda on
// held-out models, is the CPU's own solver (core/marginal_solver.cpp), on the host's threads.
#include "cuda/lasso_marginal.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "core/lasso_target.h"
#include "cuda/lasso_buffers.h"
#include "cuda/lasso_memory.h"
#include "cuda/over_devices.h"
#include "lethe/parallel.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

constexpr int64_t kMostLanes = 256;  // targets of a round

struct Flight {
  std::unique_ptr<TargetSolver> solver;
  int64_t target = -1;  // -1: free
};

class MarginalWorker {
 public:
  MarginalWorker(Shared& shared, int device)
      : shared_(shared), design_(shared.design, shared.options.standardise), slots_(design_.view(), 0), device_(device) {
    const int64_t allowed = shared.options.threads > 0 ? shared.options.threads : allowedThreads();
    threads_ = static_cast<int>(std::max<int64_t>(1, allowed / shared.numDevices));
  }

  void run() {
    useDevice(device_);
    const Stream stream;
    allocate();
    while (!shared_.stop && !shared_.control.aborted() && refill()) round();
  }

 private:
  void allocate() {
    const int64_t budget = memoryOf(shared_.gpu);
    const MemoryPlan plan = planMemory(budget, design_.bytes() + slots_.bytesOf(0), slots_.bytesOf(1) - slots_.bytesOf(0), 0,
                                       shared_.targets.numTargets, kMostLanes);
    if (plan.slots == 0) {
      throw GpuError("LETHE_GPU_MEMORY_EXHAUSTED", "a marginal fit does not fit on GPU " + std::to_string(device_) + ": expected at least " +
                                                       std::to_string(plan.neededBytes) + " bytes of its memory; may use " + std::to_string(budget) +
                                                       ". Fit on the CPU.");
    }
    design_.upload();
    slots_.allocate(plan.slots);
    flights_.resize(static_cast<size_t>(plan.slots));
    commands_.resize(flights_.size());
    units_.resize(flights_.size());
    totals_.resize(flights_.size());
    limbs_.resize(flights_.size() * static_cast<size_t>(kMaxLimbs * design_.view().rows()));
  }

  // Starts targets in free lanes. False: nothing is in flight.
  bool refill() {
    std::vector<Flight*> starting;
    for (Flight& flight : flights_) {
      if (flight.target < 0) starting.push_back(&flight);
    }
    const int64_t wanted = static_cast<int64_t>(starting.size());
    const int64_t from = wanted > 0 ? shared_.nextChunk.fetch_add(wanted) : shared_.targets.numTargets;
    const int64_t to = std::min(from + wanted, shared_.targets.numTargets);
    if (from < to) {
      shared_.readTargets(from, to, values_);
      parallelFor(to - from, threads_, [&](int64_t k, int) { begin(*starting[static_cast<size_t>(k)], from + k, values_.data() + k * shared_.design.numModels()); });
    }
    return std::any_of(flights_.begin(), flights_.end(), [](const Flight& flight) { return flight.target >= 0; }) ||
           (from < to && !shared_.control.aborted() && refill());  // none of them had anything to fit
  }

  void begin(Flight& flight, int64_t target, const float* values) {
    const TargetView& targets = shared_.targets;
    const int64_t stride = (targets.numTargets + targets.targetsPerWeight - 1) / targets.targetsPerWeight;
    const uint8_t* weights = targets.rowWeights ? targets.rowWeights + target / targets.targetsPerWeight : nullptr;
    if (!flight.solver) flight.solver = makeMarginalSolver(shared_.design, shared_.options);
    flight.target = target;
    proceed(flight, flight.solver->begin(values, weights, stride));
  }

  void proceed(Flight& flight, Pass wants) {
    if (wants != Pass::none) return;
    shared_.fits[static_cast<size_t>(flight.target)] = std::move(flight.solver->fit());
    flight.target = -1;
    shared_.finishedOne();
  }

  void round() {
    std::vector<Flight*> lanes;
    for (Flight& flight : flights_) {
      if (flight.target >= 0) lanes.push_back(&flight);
    }
    const int64_t count = static_cast<int64_t>(lanes.size()), rows = design_.view().rows(), columns = design_.view().columns;
    parallelFor(count, threads_, [&](int64_t lane, int) { quantise(*lanes[static_cast<size_t>(lane)]->solver, lane); });
    const SlotsView& slots = slots_.view();
    upload(slots.limbs, limbs_.data(), count * kMaxLimbs * rows);
    upload(slots.unit, units_.data(), count * 8);
    upload(slots.total, totals_.data(), count * 8);
    upload(slots_.commands(), commands_.data(), count * static_cast<int64_t>(sizeof(Command)));
    correlate(design_.view(), slots, slots_.commands(), 0, count, kExactLimbs);
    for (int64_t lane = 0; lane < count; ++lane) {
      download(lanes[static_cast<size_t>(lane)]->solver->correlation().data(), slots.correlation + lane * columns, columns * 8);
    }
    parallelFor(count, threads_, [&](int64_t lane, int) {
      Flight& flight = *lanes[static_cast<size_t>(lane)];
      const std::vector<double>& c = flight.solver->correlation();
      const float* factor = flight.solver->factor();
      double largest = 0;
      for (size_t j = 0; j < c.size(); ++j) largest = std::max(largest, std::fabs(c[j]) / (factor ? static_cast<double>(factor[j]) : 1.0));
      proceed(flight, flight.solver->advance(largest, shared_.control));
    });
  }

  // The residual as the kernels of a fit would leave it (lasso_residual.cu): four digits of base 256, rows of a word in the order of the product.
  void quantise(const TargetSolver& solver, int64_t lane) {
    const std::vector<double>& residual = solver.residual();
    double largest = 0;
    for (double value : residual) largest = std::max(largest, std::fabs(value));
    const double unit = largest > 0 ? largest / (127.0 * 16843009) : 1.0;
    const int64_t rows = design_.view().rows();
    int8_t* to = limbs_.data() + lane * kMaxLimbs * rows;
    std::fill_n(to, kExactLimbs * rows, int8_t{0});
    int64_t total = 0;
    for (size_t row = 0; row < residual.size(); ++row) {
      int64_t digits = std::llrint(residual[row] / unit);
      total += digits;
      const int64_t bit = static_cast<int64_t>(row) % 32, place = static_cast<int64_t>(row) - bit + 4 * (bit % 8) + bit / 8;
      for (int limb = 0; limb < kExactLimbs; ++limb) {
        const int64_t digit = ((digits + 128) & 255) - 128;
        to[limb * rows + place] = static_cast<int8_t>(digit);
        digits = (digits - digit) / 256;
      }
    }
    units_[static_cast<size_t>(lane)] = unit;
    totals_[static_cast<size_t>(lane)] = total;
    Command command;
    command.slot = command.lane = static_cast<int32_t>(lane);
    command.subset = subsetOf(solver);
    command.count = design_.subsets()[static_cast<size_t>(command.subset)].count;
    commands_[static_cast<size_t>(lane)] = command;
  }

  // Residuals have mean 0 but for the rounding of their digits, so that the share of models by which columns are centred hardly matters: with
  // row weights it is that of all models.
  int32_t subsetOf(const TargetSolver& solver) const {
    for (int64_t k = 0; k < shared_.design.numFolds(); ++k) {
      if (&solver.subset() == &shared_.design.withoutFold(k)) return static_cast<int32_t>(k);
    }
    return design_.view().all;
  }

  Shared& shared_;
  GpuDesign design_;
  GpuSlots slots_;
  int device_, threads_ = 1;
  std::vector<Flight> flights_;
  std::vector<Command> commands_;  // by lane, as units and totals of the digits
  std::vector<double> units_;
  std::vector<int64_t> totals_;
  std::vector<int8_t> limbs_;      // (lanes, kMaxLimbs, rows)
  std::vector<float> values_;
};

}  // namespace

void fitMarginal(Shared& shared, int device) { MarginalWorker(shared, device).run(); }

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
