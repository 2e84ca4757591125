// The driver of a fit on GPUs: a host thread a device keeps targets in flight, round after round, and replaces finished ones at once. A
// target's numbers depend on its own column only: not on neighbours, slots, devices or the memory there is.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <thread>

#include "cuda/lasso_buffers.h"
#include "cuda/lasso_marginal.h"
#include "cuda/lasso_memory.h"
#include "cuda/over_devices.h"
#include "lethe/gpu.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

namespace {

constexpr int64_t kMostSlots = 4096, kChunk = 64;  // targets in flight on a device; taken from the queue at once: neighbours in memory

struct Flight {
  int64_t target = -1, serial = 0;  // serial: in order of their starts; the last is the youngest
  int64_t offset = -1, capacity = 0, size = 0, counted = 0;
  std::unique_ptr<TargetPath> path;
};

class Worker {
 public:
  Worker(Shared& shared, int device) : shared_(shared), design_(shared.design, shared.options.standardise), slots_(design_.view(), design_.heldCapacity()), device_(device), arena_(0) {}

  void run() {
    useDevice(device_);
    const Stream stream;
    allocate();
    while (!shared_.stop && !shared_.control.aborted() && refill()) round();
  }

 private:
  void allocate() {
    const int64_t budget = memoryOf(shared_.gpu);
    // working sets grow with the models, and begin small
    firstCapacity_ = capacityFor(std::min<int64_t>(256, shared_.design.numModels() / 64), design_.view().columns);
    const int64_t fixed = design_.bytes() + slots_.bytesOf(0);
    const MemoryPlan plan = planMemory(budget, fixed, slots_.bytesOf(1) - slots_.bytesOf(0), setBytes(firstCapacity_) + 256,
                                       shared_.targets.numTargets, kMostSlots);
    if (plan.slots == 0) {
      throw GpuError("LETHE_GPU_MEMORY_EXHAUSTED", "a datamodel fit does not fit on GPU " + std::to_string(device_) + ": expected at least " +
                                                       std::to_string(plan.neededBytes) + " bytes of its memory; may use " + std::to_string(budget) +
                                                       ". Fit on the CPU.");
    }
    design_.upload();
    slots_.allocate(plan.slots);
    // no more than if every working set held all columns
    const int64_t most = plan.slots * (setBytes(capacityFor(design_.view().columns, design_.view().columns)) + 256) * 2;
    arenaMemory_ = DeviceMemory(std::min(plan.arenaBytes, most));
    arena_ = Arena(arenaMemory_.bytes());
    flights_.resize(static_cast<size_t>(plan.slots));
    limit_ = plan.slots;
    outcomes_.resize(flights_.size());
  }

  // Starts targets in free slots. False: nothing is in flight.
  bool refill() {
    for (size_t slot = 0; slot < flights_.size() && live_ < limit_; ++slot) {
      Flight& flight = flights_[slot];
      if (flight.target >= 0) continue;
      const int64_t offset = arena_.take(setBytes(firstCapacity_));
      if (offset < 0) break;
      const int64_t target = takeTarget();
      if (target < 0) {
        arena_.give(offset, setBytes(firstCapacity_));
        break;
      }
      flight = Flight{target, serial_++, offset, firstCapacity_, 0, 0, std::make_unique<TargetPath>(shared_.options, design_.subsets())};
      upload(slots_.view().raw + static_cast<int64_t>(slot) * design_.view().rows(), column_.data(), design_.view().rows() * 4);
      ++live_;
    }
    return live_ > 0;
  }

  // A target that needs a fit, its values in column_; -1: none is left.
  int64_t takeTarget() {
    while (true) {
      int64_t target;
      if (!again_.empty()) {
        target = again_.front();
        again_.pop_front();
      } else {
        if (nextTarget_ == chunkEnd_) {
          if (drained_) return -1;
          nextTarget_ = shared_.nextChunk.fetch_add(1) * kChunk;
          chunkEnd_ = std::min(nextTarget_ + kChunk, shared_.targets.numTargets);
          if (nextTarget_ >= chunkEnd_) {
            drained_ = true;
            nextTarget_ = chunkEnd_;
            return -1;
          }
          shared_.readTargets(nextTarget_, chunkEnd_, chunk_);
          chunkFrom_ = nextTarget_;
        }
        target = nextTarget_++;
      }
      const bool here = target >= chunkFrom_ && target < chunkEnd_;
      if (!here) shared_.readTargets(target, target + 1, alone_);  // an evicted one
      const float* values = here ? chunk_.data() + (target - chunkFrom_) * shared_.design.numModels() : alone_.data();
      if (readColumn(target, values)) return target;
    }
  }

  // values: (models). False: there is nothing to fit, and the result is written.
  bool readColumn(int64_t target, const float* values) {
    const std::vector<int32_t>& models = shared_.design.modelOfRow();
    column_.assign(static_cast<size_t>(design_.view().rows()), 0.0f);
    bool finite = true, constant = true, any = false;
    float first = 0;
    for (size_t row = 0; row < models.size(); ++row) {
      if (models[row] < 0) continue;
      const float value = values[models[row]];
      if (!any) first = value;
      any = true;
      column_[row] = value;
      finite = finite && std::isfinite(value);
      constant = constant && value == first;
    }
    if (finite && !constant) return true;
    TargetFit& fit = shared_.fits[static_cast<size_t>(target)];
    fit = TargetFit{};
    if (!finite) {
      fit.status = FitStatus::nonfinite;
      fit.bias = std::numeric_limits<float>::quiet_NaN();
      fit.lambda = fit.gap = std::numeric_limits<double>::quiet_NaN();
    } else {
      fit.status = FitStatus::constant;
      fit.bias = first;
      fit.lambda = shared_.options.fold.empty() ? shared_.options.lambda : 0;
    }
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
    findLargest(design, slots, commands, count, slots_.outcomes());
    download(outcomes_.data(), slots_.outcomes(), count * static_cast<int64_t>(sizeof(Outcome)));
    std::vector<size_t> stepping;
    for (size_t lane = 0; lane < lanes.size(); ++lane) {
      Flight& flight = flights_[lanes[lane]];
      flight.size = outcomes_[lane].size;
      if (flight.path->command().restart == Restart::empty) flight.counted = 0;
      if (flight.path->command().restart == Restart::best) flight.counted = 0;
      const TargetPath::Next next = flight.path->correlated(outcomes_[lane]);
      if (next == TargetPath::Next::step) stepping.push_back(lanes[lane]);
      if (next == TargetPath::Next::done) finish(lanes[lane]);
    }
    while (!stepping.empty() && !shared_.control.aborted()) stepping = step(stepping, lanes);
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
      command.set = pointer<uint8_t>(arenaMemory_) + flight.offset;
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
    int64_t offset;
    while ((offset = arena_.take(setBytes(capacity))) < 0) {
      size_t youngest = slot;
      for (size_t other = 0; other < flights_.size(); ++other) {
        if (flights_[other].target >= 0 && flights_[other].serial > flights_[youngest].serial) youngest = other;
      }
      if (live_ == 1) {
        throw GpuError("LETHE_GPU_MEMORY_EXHAUSTED", "target " + std::to_string(flight.target) + " needs a working set of " + std::to_string(size) +
                                                         " examples: expected " + std::to_string(setBytes(capacity) + setBytes(flight.capacity)) +
                                                         " bytes of GPU memory for it; there are " + std::to_string(arenaMemory_.bytes()) +
                                                         ". Fit on the CPU, or give the fit more memory.");
      }
      again_.push_front(flights_[youngest].target);
      release(youngest);
      limit_ = live_;
      if (youngest == slot) return false;
    }
    uint8_t* base = pointer<uint8_t>(arenaMemory_);
    growSet(base + flight.offset, flight.capacity, base + offset, capacity, flight.size, flight.counted);
    arena_.give(flight.offset, setBytes(flight.capacity));
    flight.offset = offset;
    flight.capacity = capacity;
    return true;
  }

  void release(size_t slot) {
    Flight& flight = flights_[slot];
    arena_.give(flight.offset, setBytes(flight.capacity));
    flight = Flight{};
    --live_;
  }

  // Weights of the working set in the unit of the target.
  void finish(size_t slot) {
    const Flight& flight = flights_[slot];
    const TargetPath& path = *flight.path;
    const SetView set = setAt(pointer<uint8_t>(arenaMemory_) + flight.offset, flight.capacity);
    const size_t size = static_cast<size_t>(flight.size);
    std::vector<double> weights(size);
    std::vector<int32_t> columns(size), order;
    download(weights.data(), set.weight, flight.size * 8);
    download(columns.data(), set.columns, flight.size * 4);
    for (int32_t p = 0; p < flight.size; ++p) {
      if (weights[static_cast<size_t>(p)] != 0) order.push_back(p);
    }
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return columns[static_cast<size_t>(a)] < columns[static_cast<size_t>(b)]; });
    const RowSubset& subset = path.subset() < shared_.design.numFolds() ? shared_.design.withoutFold(path.subset()) : shared_.design.all();
    TargetFit fit;
    fit.status = path.status();
    fit.lambda = path.lambda();
    fit.gap = path.gap();
    double bias = path.mean();
    for (int32_t p : order) {
      const float weight = static_cast<float>(weights[static_cast<size_t>(p)] * path.scale());
      if (weight == 0) continue;
      const int32_t column = columns[static_cast<size_t>(p)];
      fit.indices.push_back(column);
      fit.weights.push_back(weight);
      bias -= static_cast<double>(weight) * subset.seen[static_cast<size_t>(column)] / static_cast<double>(subset.count);
    }
    fit.bias = static_cast<float>(bias);
    shared_.fits[static_cast<size_t>(flight.target)] = std::move(fit);
    release(slot);
    shared_.finishedOne();
  }

  Shared& shared_;
  GpuDesign design_;
  GpuSlots slots_;
  int device_;
  int64_t firstCapacity_ = 0, live_ = 0, limit_ = 0, serial_ = 0;
  DeviceMemory arenaMemory_;
  Arena arena_;
  std::vector<Flight> flights_;
  std::vector<Outcome> outcomes_;  // by lane
  std::vector<int32_t> laneOf_;    // by slot
  std::vector<float> column_, chunk_, alone_;
  std::deque<int64_t> again_;      // put back
  int64_t nextTarget_ = 0, chunkEnd_ = 0, chunkFrom_ = 0;
  bool drained_ = false;
};

Status unsupported(const std::string& expected, const std::string& received) {
  return Status::error("LETHE_ARGUMENT_UNSUPPORTED", "a fit on the GPU: expected " + expected + "; received " + received + ". Fit on the CPU.");
}

}  // namespace

Status fit(const LassoDesign& design, const TargetView& targets, const FitOptions& options, const GpuOptions& gpu, const TaskControl& control,
           std::vector<TargetFit>& fits) {
  const bool marginal = options.estimator == Estimator::marginal;
  if (targets.rowWeights && !marginal) return unsupported("no row weights with the Lasso", "some");
  if (targets.rowStride < targets.numTargets) {
    return Status::error("LETHE_ARGUMENT_INVALID", "targets: expected a row stride of at least the number of targets.");
  }
  std::vector<int> devices;
  const Status chosen = chooseDevices(gpu, deviceCount(), devices);
  if (!chosen.ok()) return chosen;
  fits.assign(static_cast<size_t>(targets.numTargets), TargetFit{});
  Shared shared{design, targets, options, gpu, control, fits, static_cast<int64_t>(devices.size())};
  std::vector<Status> statuses(devices.size());
  const auto work = [&](size_t k) {
    try {
      if (marginal) fitMarginal(shared, devices[k]);
      else Worker(shared, devices[k]).run();
    } catch (const GpuError& error) {
      statuses[k] = error.status();
    } catch (const std::bad_alloc&) {
      statuses[k] = Status::error("LETHE_MEMORY_SHORT", "the fit needs more host memory than there is. Fit fewer targets at once.");
    }
    if (!statuses[k].ok()) shared.stop = true;
  };
  std::vector<std::thread> threads;
  for (size_t k = 1; k < devices.size(); ++k) threads.emplace_back(work, k);
  work(0);
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : statuses) {
    if (!status.ok()) return status;
  }
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "the fit was stopped before it was complete.");
  return Status::success();
}

}  // namespace lasso
}  // namespace LETHE_ISA

Status LETHE_PER_ISA(fitDatamodelsOnGpu)(const LassoDesign& design, const TargetView& targets, const FitOptions& options, const GpuOptions& gpu,
                                         const TaskControl& control, std::vector<TargetFit>& fits) {
  return lasso::fit(design, targets, options, gpu, control, fits);
}

}  // namespace lethe
