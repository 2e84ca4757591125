// The device correlates residuals with all columns, many targets a round; all else is done by the processor's solvers.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "core/lasso/target.h"
#include "cuda/lasso/memory.h"
#include "cuda/lasso/workers.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

constexpr int64_t kMostLanes = 256;  // targets of a round

struct Flight {
  std::unique_ptr<TargetSolver> solver;
  int64_t target = -1;  // -1: free
  Wanted wants = Wanted::none;
};

class Fit final : public DeviceFit {
 public:
  Fit(Shared& shared, const GpuDesign& design, int device) : shared_(shared), design_(design), slots_(design.view(), 0) {
    const MemoryPlan plan =
        planMemory(design.budget(), design.bytes() + slots_.bytesOf(0), slots_.bytesOf(1) - slots_.bytesOf(0), 0, shared.targets.numTargets, kMostLanes);
    if (plan.slots == 0) throw outOfMemory(device, plan.neededBytes, design.budget());
    slots_.allocate(plan.slots);
    everyModel_.resize(static_cast<size_t>(shared.design.numModels()));
    std::iota(everyModel_.begin(), everyModel_.end(), 0);
    flights_.resize(static_cast<size_t>(plan.slots));
    commands_.resize(flights_.size());
    units_.resize(flights_.size());
    totals_.resize(flights_.size());
    limbs_.resize(flights_.size() * static_cast<size_t>(kMaxLimbs * design.view().rows()));
    correlations_.resize(flights_.size() * static_cast<size_t>(design.view().columns));
  }

  int numWorkers() const override { return 1; }
  void run() override {
    while (!shared_.stopped() && refill()) round();
  }

 private:
  // Starts targets in free lanes. False: nothing is in flight.
  bool refill() {
    while (true) {
      std::vector<Flight*> starting;
      for (Flight& flight : flights_) {
        if (flight.target < 0) starting.push_back(&flight);
      }
      const Span span = shared_.take(static_cast<int64_t>(starting.size()));
      readTargets(span);
      parallelFor(span.size(), shared_.threads,
                  [&](int64_t k, int) { begin(*starting[static_cast<size_t>(k)], span.from + k, values_.data() + k * shared_.design.numModels()); });
      if (std::any_of(flights_.begin(), flights_.end(), [](const Flight& flight) { return flight.target >= 0; })) return true;
      if (span.size() == 0 || shared_.stopped()) return false;  // else none of them had anything to fit
    }
  }

  // values_: (targets, models)
  void readTargets(Span span) {
    const int64_t models = shared_.design.numModels();
    values_.resize(static_cast<size_t>(span.size() * models));
    parallelFor((span.size() + kLine - 1) / kLine, shared_.threads, [&](int64_t line, int) {
      const int64_t from = line * kLine, to = std::min(from + kLine, span.size());
      shared_.readColumns({span.from + from, span.from + to}, everyModel_, models, values_.data() + from * models);
    });
  }

  void begin(Flight& flight, int64_t target, const float* values) {
    if (!flight.solver) flight.solver = makeSolver(shared_.design, shared_.options);
    flight.target = target;
    proceed(flight, flight.solver->begin(inputOf(shared_.targets, shared_.options, target, values)));
  }

  void proceed(Flight& flight, Wanted wants) {
    flight.wants = wants;
    if (wants != Wanted::none) return;
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
    parallelFor(count, shared_.threads, [&](int64_t lane, int) { quantise(*lanes[static_cast<size_t>(lane)]->solver, lane); });
    const SlotsView& slots = slots_.view();
    upload(slots.limbs, limbs_.data(), count * kMaxLimbs * rows);
    upload(slots.unit, units_.data(), count * 8);
    upload(slots.total, totals_.data(), count * 8);
    upload(slots_.commands(), commands_.data(), count * static_cast<int64_t>(sizeof(Command)));
    correlate(design_.view(), slots, slots_.commands(), 0, count, kExactLimbs);
    shared_.numOperations += design_.view().operations(count, kExactLimbs);
    download(correlations_.data(), slots.correlation, count * columns * 8);
    parallelFor(count, shared_.threads, [&](int64_t lane, int) {
      Flight& flight = *lanes[static_cast<size_t>(lane)];
      double* c = correlations_.data() + lane * columns;
      const RowSet& rowSet = flight.solver->rowSet();
      for (int64_t j = 0; j < columns; ++j) {
        if (rowSet.constant(static_cast<int32_t>(j))) c[j] = 0;  // rounding noise only
      }
      proceed(flight, flight.wants == Wanted::screen ? screened(*flight.solver, c) : correlated(*flight.solver, c));
    });
  }

  Wanted correlated(TargetSolver& solver, const double* c) {
    const float* factor = solver.factor();
    double largest = 0;
    for (int64_t j = 0; j < design_.view().columns; ++j) largest = std::max(largest, std::fabs(c[j]) / (factor ? static_cast<double>(factor[j]) : 1.0));
    std::copy_n(c, design_.view().columns, solver.correlation().data());
    return solver.advance(largest, shared_.control);
  }

  Wanted screened(TargetSolver& solver, const double* c) {
    std::vector<int32_t> found;
    for (int64_t j = 0; j < design_.view().columns; ++j) {
      if (std::fabs(c[j]) >= solver.screenFloor()) found.push_back(static_cast<int32_t>(j));
    }
    return solver.advance(found, shared_.control);
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
    command.rowSet = rowSetOf(solver);
    command.count = design_.rowSets()[static_cast<size_t>(command.rowSet)].count;
    commands_[static_cast<size_t>(lane)] = command;
  }

  // Residuals have mean 0 but for the rounding of their digits, so that the share of models by which columns are centred hardly matters: with
  // row weights it is that of all models.
  int32_t rowSetOf(const TargetSolver& solver) const {
    for (int64_t k = 0; k < shared_.design.numFolds(); ++k) {
      if (&solver.rowSet() == &shared_.design.withoutFold(k)) return static_cast<int32_t>(k);
    }
    return design_.view().all;
  }

  Shared& shared_;
  const GpuDesign& design_;
  GpuSlots slots_;
  std::vector<Flight> flights_;
  std::vector<Command> commands_;  // by lane, as units and totals of the digits
  std::vector<double> units_, correlations_;  // (lanes), (lanes, columns)
  std::vector<int64_t> totals_;
  std::vector<int8_t> limbs_;      // (lanes, kMaxLimbs, rows)
  std::vector<float> values_;
  std::vector<int32_t> everyModel_;  // 0, 1, ...
};

}  // namespace

std::unique_ptr<DeviceFit> fitOnHost(Shared& shared, const GpuDesign& design, int device) { return std::make_unique<Fit>(shared, design, device); }

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
