// The Lasso of many targets on one device. A worker, a host thread with a stream, keeps targets in flight, round after round, and replaces finished
// ones at once; several workers fill the gaps that each leaves on the device while it waits, or while few blocks are left. A target's numbers
// depend on its own column only: not on neighbours, slots, workers, devices or the memory there is.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "core/lasso/refit.h"
#include "cuda/lasso/memory.h"
#include "cuda/lasso/path.h"
#include "cuda/lasso/workers.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

constexpr int64_t kMostSlots = 4096;  // targets in flight
constexpr int64_t kBatch = 256;       // of them started together, at most
constexpr int64_t kMostWorkers = 4, kLeastSlots = 64;  // of a device; of a worker, if there are several: products of fewer are inefficient

struct Flight {
  int64_t target = -1, serial = 0;  // serial: in order of their starts; the last is the youngest
  int64_t offset = -1, capacity = 0, size = 0, counted = 0;
  std::unique_ptr<TargetPath> path;
};

class Worker {
 public:
  Worker(Shared& shared, const GpuDesign& design, Common& common, uint8_t* arena, int64_t slots, int64_t firstCapacity, int threads)
      : shared_(shared),
        design_(design),
        common_(common),
        arena_(arena),
        slots_(design.view(), design.heldCapacity()),
        threads_(threads),
        firstCapacity_(firstCapacity),
        limit_(slots) {
    slots_.allocate(slots);
    flights_.resize(static_cast<size_t>(slots));
    outcomes_.resize(flights_.size());
  }

  void run() {
    while (!shared_.stopped() && refill()) round();
  }

 private:
  // Starts targets in free slots; waits for room where it has no target at all. False: there are none left.
  bool refill() {
    while (live_ < limit_ && !shared_.stopped()) {
      const std::vector<Waiting> targets = takeTargets(std::min(limit_ - live_, kBatch));
      if (targets.empty()) break;
      readColumns(targets);
      size_t slot = 0;
      for (size_t k = 0; k < targets.size(); ++k) {
        if (!fits_[k]) continue;
        const auto [target, capacity] = targets[k];
        const int64_t numGiven = common_.numGiven(), offset = common_.take(setBytes(capacity));
        if (offset < 0) {  // no room for this one: nor, most likely, for those after it
          for (size_t later = targets.size(); later-- > k;) {
            if (fits_[later]) common_.putBack(targets[later]);
          }
          if (live_ == 0) common_.waitForRoom(numGiven, [&] { return shared_.stopped(); });
          else limit_ = live_;
          break;
        }
        while (flights_[slot].target >= 0) ++slot;
        flights_[slot] = Flight{target, serial_++, offset, capacity, 0, 0, std::make_unique<TargetPath>(shared_.options, design_.rowSets(), ratioOf(target))};
        const int64_t rows = design_.view().rows();
        upload(slots_.view().raw + static_cast<int64_t>(slot) * rows, columns_.data() + static_cast<int64_t>(k) * rows, rows * 4);
        ++live_;
      }
    }
    return live_ > 0;
  }

  // Up to `most`; those that were put back come first.
  std::vector<Waiting> takeTargets(int64_t most) {
    std::vector<Waiting> targets = common_.takeWaiting(most);
    const Span span = shared_.take(most - static_cast<int64_t>(targets.size()));
    for (int64_t target = span.from; target < span.to; ++target) targets.push_back({target, firstCapacity_});
    return targets;
  }

  // columns_: (targets, rows); fits_: (targets) whether there is anything to fit. Results of the others are written.
  void readColumns(const std::vector<Waiting>& targets) {
    const int64_t rows = design_.view().rows();
    columns_.assign(targets.size() * static_cast<size_t>(rows), 0.0f);
    fits_.assign(targets.size(), 0);
    std::vector<Span> lines;  // positions in `targets` that are neighbours in memory
    for (int64_t k = 0; k < static_cast<int64_t>(targets.size()); ++k) {
      const bool joins =
          !lines.empty() && lines.back().size() < kLine && targets[static_cast<size_t>(k)].target == targets[static_cast<size_t>(k) - 1].target + 1;
      if (joins) lines.back().to = k + 1;
      else lines.push_back({k, k + 1});
    }
    parallelFor(static_cast<int64_t>(lines.size()), threads_, [&](int64_t line, int) {
      const Span span = lines[static_cast<size_t>(line)];
      const int64_t first = targets[static_cast<size_t>(span.from)].target;
      shared_.readColumns({first, first + span.size()}, shared_.design.modelOfRow(), rows, columns_.data() + span.from * rows);
      for (int64_t k = span.from; k < span.to; ++k) fits_[static_cast<size_t>(k)] = isToFit(targets[static_cast<size_t>(k)].target, columns_.data() + k * rows);
    });
  }

  double ratioOf(int64_t target) const { return shared_.targets.lambdaRatio ? shared_.targets.lambdaRatio[target] : 0.0; }

  // column: (rows). False: there is nothing to fit, and the result is written.
  bool isToFit(int64_t target, const float* column) {
    const std::vector<int32_t>& models = shared_.design.modelOfRow();
    ColumnFacts facts;
    for (size_t row = 0; row < models.size(); ++row) {
      if (models[row] >= 0) facts.add(column[row]);
    }
    if (facts.isToFit()) return true;
    shared_.fits[static_cast<size_t>(target)] = facts.fit(shared_.options, ratioOf(target));
    shared_.finishedOne();
    return false;
  }

  void round() {
    // lanes: paths first, then those whose residuals have more bytes
    std::vector<size_t> lanes;
    for (size_t slot = 0; slot < flights_.size(); ++slot) {
      if (flights_[slot].target >= 0 && !flights_[slot].path->exact()) lanes.push_back(slot);
    }
    const int64_t paths = static_cast<int64_t>(lanes.size());
    for (size_t slot = 0; slot < flights_.size(); ++slot) {
      if (flights_[slot].target >= 0 && flights_[slot].path->exact()) lanes.push_back(slot);
    }
    const int64_t count = static_cast<int64_t>(lanes.size());
    send(lanes, lanes);
    const DesignView& design = design_.view();
    const SlotsView& slots = slots_.view();
    Command* commands = slots_.commands();
    computeResiduals(design, slots, commands, paths, kPathLimbs, slots_.outcomes());
    computeResiduals(design, slots, commands + paths, count - paths, kExactLimbs, slots_.outcomes());
    correlate(design, slots, commands, 0, paths, kPathLimbs);
    correlate(design, slots, commands, paths, count - paths, kExactLimbs);
    shared_.numOperations += design.operations(paths, kPathLimbs) + design.operations(count - paths, kExactLimbs);
    findLargest(design, slots, commands, count, slots_.outcomes());
    download(outcomes_.data(), slots_.outcomes(), count * static_cast<int64_t>(sizeof(Outcome)));
    std::vector<size_t> stepping, done;
    for (size_t lane = 0; lane < lanes.size(); ++lane) {
      Flight& flight = flights_[lanes[lane]];
      flight.size = outcomes_[lane].size;
      if (flight.path->command().restart != Restart::none) flight.counted = 0;
      const TargetPath::Next next = flight.path->correlated(outcomes_[lane]);
      if (next == TargetPath::Next::step) stepping.push_back(lanes[lane]);
      if (next == TargetPath::Next::done) done.push_back(lanes[lane]);
    }
    finish(done);
    while (!stepping.empty() && !shared_.stopped()) stepping = step(stepping, lanes);
  }

  // Sends the commands of `chosen`, each with its lane in `lanes`.
  void send(const std::vector<size_t>& chosen, const std::vector<size_t>& lanes) {
    if (&chosen == &lanes) {
      laneOf_.assign(flights_.size(), -1);
      for (size_t lane = 0; lane < lanes.size(); ++lane) laneOf_[lanes[lane]] = static_cast<int32_t>(lane);
    }
    std::vector<Command> commands;
    for (size_t slot : chosen) {
      Flight& flight = flights_[slot];
      Command& command = flight.path->command();
      command.slot = static_cast<int32_t>(slot);
      command.lane = laneOf_[slot];
      command.set = arena_ + flight.offset;
      command.capacity = flight.capacity;
      commands.push_back(command);
    }
    upload(slots_.commands(), commands.data(), static_cast<int64_t>(commands.size() * sizeof(Command)));
  }

  // Steps of these slots; returns those that did not fit in their working sets and have larger ones now.
  std::vector<size_t> step(std::vector<size_t> stepping, const std::vector<size_t>& lanes) {
    std::stable_sort(stepping.begin(), stepping.end(), [&](size_t a, size_t b) { return flights_[a].capacity > flights_[b].capacity; });
    send(stepping, lanes);
    for (size_t from = 0, to = 0; from < stepping.size(); from = to) {
      const int64_t capacity = flights_[stepping[from]].capacity;
      while (to < stepping.size() && flights_[stepping[to]].capacity == capacity) ++to;
      takeSteps(design_.view(), slots_.view(), slots_.commands() + from, static_cast<int64_t>(to - from), capacity, slots_.outcomes());
    }
    download(outcomes_.data(), slots_.outcomes(), static_cast<int64_t>(lanes.size() * sizeof(Outcome)));
    std::vector<size_t> crowded;
    for (size_t slot : stepping) {
      Flight& flight = flights_[slot];
      const Outcome& outcome = outcomes_[static_cast<size_t>(laneOf_[slot])];
      if (outcome.size > flight.capacity) {
        crowded.push_back(slot);
        continue;
      }
      flight.size = flight.counted = outcome.size;
      flight.path->stepped(outcome);
    }
    std::sort(crowded.begin(), crowded.end(), [&](size_t a, size_t b) { return flights_[a].serial < flights_[b].serial; });
    std::vector<size_t> grown;
    for (size_t slot : crowded) {
      if (flights_[slot].target >= 0 && grow(slot, outcomes_[static_cast<size_t>(laneOf_[slot])].size)) grown.push_back(slot);
    }
    grown.erase(std::remove_if(grown.begin(), grown.end(), [&](size_t slot) { return flights_[slot].target < 0; }), grown.end());
    return grown;
  }

  // Moves the slot to a larger working set, for which the youngest targets are put back in the queue. False: it was the youngest itself.
  bool grow(size_t slot, int64_t size) {
    Flight& flight = flights_[slot];
    const int64_t capacity = capacityFor(size, design_.view().columns);
    if (setBytes(capacity) > common_.piecesBytes()) {
      throw GpuError("LETHE_GPU_MEMORY_EXHAUSTED", "target " + std::to_string(flight.target) + " needs a working set of " + std::to_string(size) +
                                                       " examples: expected " + std::to_string(setBytes(capacity)) + " bytes of GPU memory for it; there are " +
                                                       std::to_string(common_.piecesBytes()) + ". Fit on the CPU, or give the fit more memory.");
    }
    int64_t offset;
    while ((offset = common_.take(setBytes(capacity))) < 0) {
      size_t youngest = slot;
      for (size_t other = 0; other < flights_.size(); ++other) {
        if (flights_[other].target >= 0 && flights_[other].serial > flights_[youngest].serial) youngest = other;
      }
      // it begins again, with room for what is known to be needed: at last it is alone and has all there is
      common_.putBack({flights_[youngest].target, youngest == slot ? capacity : flights_[youngest].capacity});
      release(youngest);
      limit_ = std::max<int64_t>(live_, 1);
      if (youngest == slot) return false;
    }
    growSet(arena_ + flight.offset, flight.capacity, arena_ + offset, capacity, flight.size, flight.counted);
    synchronize();  // another worker may take the old one
    common_.give(flight.offset, setBytes(flight.capacity));
    flight.offset = offset;
    flight.capacity = capacity;
    return true;
  }

  void release(size_t slot) {
    Flight& flight = flights_[slot];
    common_.give(flight.offset, setBytes(flight.capacity));
    flight = Flight{};
    --live_;
  }

  // Downloads the weights of the slots' working sets, writes the results, and frees the slots.
  void finish(const std::vector<size_t>& slots) {
    struct Members {
      std::vector<double> weights;
      std::vector<int32_t> columns;
    };
    std::vector<Members> members(slots.size());
    for (size_t k = 0; k < slots.size(); ++k) {
      const Flight& flight = flights_[slots[k]];
      const SetView set = setAt(arena_ + flight.offset, flight.capacity);
      members[k].weights.resize(static_cast<size_t>(flight.size));
      members[k].columns.resize(static_cast<size_t>(flight.size));
      download(members[k].weights.data(), set.weight, flight.size * 8);
      download(members[k].columns.data(), set.columns, flight.size * 4);
    }
    parallelFor(static_cast<int64_t>(slots.size()), threads_, [&](int64_t k, int) {
      const Members& of = members[static_cast<size_t>(k)];
      writeFit(flights_[slots[static_cast<size_t>(k)]], of.weights, of.columns);
    });
    for (size_t slot : slots) {
      release(slot);
      shared_.finishedOne();
    }
  }

  // weights, columns: (members) in the unit of the path.
  void writeFit(const Flight& flight, const std::vector<double>& weights, const std::vector<int32_t>& columns) {
    const TargetPath& path = *flight.path;
    const LassoDesign& design = shared_.design;
    LassoResult lasso{path.status(), path.lambda(), path.gap(), {}};
    for (size_t p = 0; p < weights.size(); ++p) lasso.weights.push(columns[p], weights[p] * path.scale());
    std::vector<float> values(static_cast<size_t>(design_.view().rows()));
    shared_.readColumns({flight.target, flight.target + 1}, design.modelOfRow(), design_.view().rows(), values.data());
    const double relaxation = inputOf(shared_.targets, shared_.options, flight.target, nullptr).relaxation;
    const RowSet& models = path.rowSet() < design.numFolds() ? design.withoutFold(path.rowSet()) : design.all();
    shared_.fits[static_cast<size_t>(flight.target)] = SolvedElsewhere(design, shared_.options).conclude(values.data(), relaxation, models, lasso);
  }

  Shared& shared_;
  const GpuDesign& design_;
  Common& common_;
  uint8_t* arena_;
  GpuSlots slots_;
  int threads_;  // of the host
  int64_t firstCapacity_, live_ = 0, limit_, serial_ = 0;
  std::vector<Flight> flights_;
  std::vector<Outcome> outcomes_;  // by lane
  std::vector<int32_t> laneOf_;    // by slot
  std::vector<float> columns_;     // (targets of a batch, rows)
  std::vector<uint8_t> fits_;      // (targets of a batch)
};

class Fit final : public DeviceFit {
 public:
  Fit(Shared& shared, const GpuDesign& design, int device) : shared_(shared), design_(design) {
    const GpuSlots slots(design.view(), design.heldCapacity());
    // working sets grow with the models, and begin small
    firstCapacity_ = capacityFor(std::min<int64_t>(256, shared.design.numModels() / 64), design.view().columns);
    const MemoryPlan plan = planMemory(design.budget(), design.bytes() + kMostWorkers * slots.bytesOf(0), slots.bytesOf(1) - slots.bytesOf(0),
                                       setBytes(firstCapacity_) + 256, shared.targets.numTargets, kMostSlots);
    if (plan.slots == 0) throw outOfMemory(device, plan.neededBytes, design.budget());
    workers_ = std::clamp<int64_t>(plan.slots / kLeastSlots, 1, kMostWorkers);
    slotsEach_ = plan.slots / workers_;
    // no more than if every working set held all columns
    const int64_t most = plan.slots * (setBytes(capacityFor(design.view().columns, design.view().columns)) + 256) * 2;
    arena_ = DeviceMemory(std::min(plan.piecesBytes, most));
    common_ = std::make_unique<Common>(arena_.bytes());
  }

  int numWorkers() const override { return static_cast<int>(workers_); }
  void run() override {
    const int threads = std::max(1, shared_.threads / numWorkers());
    Worker(shared_, design_, *common_, pointer<uint8_t>(arena_), slotsEach_, firstCapacity_, threads).run();
  }

 private:
  Shared& shared_;
  const GpuDesign& design_;
  int64_t firstCapacity_ = 0, workers_ = 1, slotsEach_ = 0;
  DeviceMemory arena_;
  std::unique_ptr<Common> common_;
};

}  // namespace

std::unique_ptr<DeviceFit> fitOnDevice(Shared& shared, const GpuDesign& design, int device) { return std::make_unique<Fit>(shared, design, device); }

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
