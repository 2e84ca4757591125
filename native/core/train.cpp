#include "lethe/train.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>

#include "lethe/parallel.h"
#include "net_plan.h"
#include "net_runner.h"
#include "trainer.h"

namespace lethe {

namespace {

constexpr size_t kMaxPasses = 16, kMaxTerms = 16;  // what the shuffle streams have room for
constexpr int64_t kMaxEpochs = 1 << 24, kMaxBatch = 1 << 24, kMaxCropPadding = 1 << 16;

Status invalidJob(const std::string& where, const std::string& text) { return Status::error("LETHE_JOB_INVALID", where + ": " + text); }

Status checkData(const ImageData& data, const NetSpec& net) {
  if (static_cast<int64_t>(data.mean.size()) != net.channels || static_cast<int64_t>(data.std.size()) != net.channels) {
    return Status::error("LETHE_JOB_INVALID", "dataset: expected mean and std of " + std::to_string(net.channels) + " channels, as the network reads.");
  }
  for (int64_t i = 0; i < data.numPoints && data.labels; ++i) {
    if (data.labels[i] < 0 || data.labels[i] >= net.numClasses) {
      return Status::error("LETHE_JOB_INVALID", "dataset: expected labels in 0.." + std::to_string(net.numClasses - 1) + "; received " +
                                                    std::to_string(data.labels[i]) + " at point " + std::to_string(i) + ".");
    }
  }
  return Status::success();
}

Status checkPoints(const std::string& where, const int32_t* points, int64_t count, int64_t numPoints) {
  for (int64_t i = 0; i < count; ++i) {
    if (points[i] < 0 || points[i] >= numPoints) {
      return invalidJob(where, "expected points in 0.." + std::to_string(numPoints - 1) + "; received " + std::to_string(points[i]) + " at position " +
                                   std::to_string(i) + ".");
    }
  }
  return Status::success();
}

Status checkTerm(const std::string& where, const PassTerm& term, int64_t numPoints) {
  if (term.count < 1 || term.count > INT32_MAX) return invalidJob(where, "expected 1..2^31-1 indices; received " + std::to_string(term.count) + ".");
  if (term.batchSize < 1 || term.batchSize > kMaxBatch) return invalidJob(where, "expected a batchSize of 1..2^24.");
  if (term.alwaysIncluded < 0 || examplesPerEpoch(term) < 1 || examplesPerEpoch(term) > term.count) {
    return invalidJob(where, "expected alwaysIncluded + samplePerEpoch in 1.." + std::to_string(term.count) + " (its indices); received " +
                                 std::to_string(term.alwaysIncluded) + " + " + std::to_string(term.samplePerEpoch) + ".");
  }
  if (!term.targets && (term.objective.matchLogits != 0 || term.objective.distill != 0)) {
    return invalidJob(where, "matchLogits and distill need targets.");
  }
  if (term.objective.distill != 0 && !(term.objective.temperature > 0)) return invalidJob(where, "expected temperature > 0.");
  return checkPoints(where, term.indices, term.count, numPoints);
}

Status checkJob(const TrainJob& job, const TrainRequest& request) {
  const std::string where = "job of model " + std::to_string(job.modelIndex);
  if (job.epochs > kMaxEpochs || job.passes.size() > kMaxPasses) {
    return invalidJob(where, "expected at most " + std::to_string(kMaxEpochs) + " epochs and " + std::to_string(kMaxPasses) + " passes.");
  }
  for (size_t p = 0; p < job.passes.size(); ++p) {
    const Pass& pass = job.passes[p];
    if (pass.terms.empty() || pass.terms.size() > kMaxTerms) {
      return invalidJob(where + ", pass " + std::to_string(p), "expected 1.." + std::to_string(kMaxTerms) + " terms.");
    }
    if (pass.augmentation.cropPadding < 0 || pass.augmentation.cropPadding > kMaxCropPadding) {
      return invalidJob(where + ", pass " + std::to_string(p), "expected a cropPadding of 0..65536.");
    }
    for (size_t t = 0; t < pass.terms.size(); ++t) {
      const Status status = checkTerm(where + ", pass " + std::to_string(p) + ", term " + std::to_string(t), pass.terms[t], request.data.numPoints);
      if (!status.ok()) return status;
    }
  }
  for (size_t i = 0; i < request.evalEpochs.size(); ++i) {
    const int64_t epoch = request.evalEpochs[i];
    if (epoch < 0 || epoch > job.epochs || (i > 0 && epoch <= request.evalEpochs[i - 1])) {
      return invalidJob(where, "expected ascending evalEpochs in 0.." + std::to_string(job.epochs) + "; received " + std::to_string(epoch) + ".");
    }
  }
  return Status::success();
}

Status checkRequest(const TrainRequest& request) {
  Status status = checkData(request.data, request.net);
  if (status.ok()) status = checkPoints("evalPoints", request.evalPoints, request.numEvalPoints, request.data.numPoints);
  for (size_t i = 0; i < request.jobs.size() && status.ok(); ++i) status = checkJob(request.jobs[i], request);
  return status;
}

int64_t largestTermCount(const TrainRequest& request) {
  size_t count = 1;
  for (const TrainJob& job : request.jobs) {
    for (const Pass& pass : job.passes) count = std::max(count, pass.terms.size());
  }
  return static_cast<int64_t>(count);
}

// Runs body(item, worker's state) on the queue, with a state per worker made on its own thread; an allocation that fails ends the call.
template <typename State>
Status runQueue(int64_t count, int threads, const TaskControl& control, const std::function<std::unique_ptr<State>()>& make,
                const std::function<void(int64_t, State&)>& body) {
  const int workers = threads > 0 ? threads : allowedThreads();
  std::vector<std::unique_ptr<State>> states(static_cast<size_t>(workers));
  std::atomic<bool> exhausted{false};
  parallelFor(count, workers, [&](int64_t index, int worker) {
    if (exhausted.load() || control.aborted()) return;
    try {
      std::unique_ptr<State>& state = states[static_cast<size_t>(worker)];
      if (!state) state = make();
      body(index, *state);
    } catch (const std::bad_alloc&) {
      exhausted.store(true);
    }
  });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "stopped on request before all models were done.");
  if (exhausted.load()) {
    return Status::error("LETHE_MEMORY_EXHAUSTED", "the buffers of " + std::to_string(workers) +
                                                       " models did not fit into memory. Use fewer threads, a smaller batch or a narrower network.");
  }
  return Status::success();
}

}  // namespace

Status trainMany(const TrainRequest& request, const TaskControl& control, std::vector<TrainOutcome>& outcomes) {
  NetPlan plan;
  Status status = compileNet(request.net, request.precision, plan);
  if (status.ok()) status = checkRequest(request);
  if (!status.ok()) return status;

  QueueProgress progress{control};
  int64_t maxBatch = std::max<int64_t>(1, std::min(kEvalBatch, request.numEvalPoints));
  bool adam = false;
  for (const TrainJob& job : request.jobs) {
    progress.total += static_cast<double>(plannedImages(job));
    maxBatch = std::max(maxBatch, largestBatch(job));
    adam = adam || job.optimizer.kind == Optimizer::Kind::adam;
  }
  const int64_t maxTerms = largestTermCount(request);
  outcomes.assign(request.jobs.size(), {});
  return runQueue<Trainer>(
      static_cast<int64_t>(request.jobs.size()), request.threads, control,
      [&] { return std::make_unique<Trainer>(request, plan, maxBatch, maxTerms, adam, progress); },
      [&](int64_t index, Trainer& trainer) {
        outcomes[static_cast<size_t>(index)] = trainer.run(request.jobs[static_cast<size_t>(index)]);
      });
}

Status forwardMany(const ForwardRequest& request, const TaskControl& control) {
  NetPlan plan;
  Status status = compileNet(request.net, request.precision, plan);
  if (status.ok()) status = checkData(request.data, request.net);
  if (status.ok()) status = checkPoints("points", request.points, request.numPoints, request.data.numPoints);
  if (!status.ok()) return status;

  const int64_t perModel = request.numPoints * request.net.numClasses, models = static_cast<int64_t>(request.parameters.size());
  QueueProgress progress{control, static_cast<double>(request.numPoints) * static_cast<double>(models)};
  return runQueue<NetRunner>(
      models, request.threads, control,
      [&] { return std::make_unique<NetRunner>(plan, request.isa, std::max<int64_t>(1, std::min(kEvalBatch, request.numPoints)), false); },
      [&](int64_t model, NetRunner& runner) {
        evaluate(runner, request.data, request.parameters[static_cast<size_t>(model)], request.points, request.numPoints, control,
                 request.logits + model * perModel);
        progress.add(request.numPoints);
        progress.report();
      });
}

Status describeNet(const NetSpec& net, Isa isa, Precision precision, int64_t batchSize, NetDescription& description) {
  NetPlan plan;
  const Status status = compileNet(net, precision, plan);
  if (!status.ok()) return status;
  if (batchSize < 1 || batchSize > kMaxBatch) return Status::error("LETHE_ARGUMENT_INVALID", "batchSize: expected 1..2^24.");
  description.layout = plan.layout;
  description.multiplyAdds = plan.multiplyAdds;
  // parameters, two gradients (the second for two-term sums) and Adam's two moments
  const int64_t vectors = plan.layout.numParameters + 4 * plan.layout.numTrainable;
  description.memoryBytes = NetRunner::bytes(plan, isa, batchSize, true) + vectors * static_cast<int64_t>(sizeof(float));
  return Status::success();
}

}  // namespace lethe
