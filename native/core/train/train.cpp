#include "lethe/train/train.h"

#include <algorithm>
#include <map>
#include <memory>

#include "core/train/device_queue.h"
#include "core/train/net_plan.h"
#include "core/train/net_runner.h"
#include "core/train/trainer.h"

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

const TrainBackend& backendOf(const GpuOps* gpu, Isa isa) { return gpu ? *gpu->train : cpuBackend(isa); }

// A copy of the data set for each device that workers train on.
class DataSets {
 public:
  Status load(const Workers& workers, const ImageData& data, const NetSpec& net) {
    try {
      for (const int device : workers.devices) {
        if (sets_.contains(device)) continue;
        const DeviceUse use(*workers.backend, device);
        sets_[device] = std::make_unique<DeviceImages>(*workers.backend, data, net);
      }
    } catch (const GpuError& failure) {
      return failure.status();
    }
    return Status::success();
  }
  const DeviceImages& of(int device) const { return *sets_.at(device); }

 private:
  std::map<int, std::unique_ptr<DeviceImages>> sets_;
};

// Evaluates one model after the other.
class Forwarder {
 public:
  Forwarder(const ForwardRequest& request, const NetPlan& plan, const TrainBackend& backend, const DeviceImages& images)
      : request_(request),
        numParameters_(plan.layout.numParameters),
        runner_(plan, backend, batch(request, backend), false),
        evaluator_(backend, images),
        parameters_(backend, parameterBytes(plan)) {}

  static int64_t bytes(const ForwardRequest& request, const NetPlan& plan, const TrainBackend& backend) {
    return NetRunner::bytes(plan, backend, batch(request, backend), false) + Evaluator::bytes(backend) + parameterBytes(plan) + backend.workerBytes;
  }

  void run(int64_t model, const TaskControl& control) {
    const float* parameters = parameters_.send(request_.parameters[static_cast<size_t>(model)], numParameters_);
    evaluator_.run(runner_, parameters, request_.points, request_.numPoints, control, request_.logits + model * request_.numPoints * request_.net.numClasses);
  }

 private:
  static int64_t batch(const ForwardRequest& request, const TrainBackend& backend) {
    return std::max<int64_t>(1, std::min(backend.evalBatch, request.numPoints));
  }
  static int64_t parameterBytes(const NetPlan& plan) { return plan.layout.numParameters * static_cast<int64_t>(sizeof(float)); }

  const ForwardRequest& request_;
  int64_t numParameters_;
  NetRunner runner_;
  Evaluator evaluator_;
  Upload parameters_;
};

}  // namespace

Status trainMany(const TrainRequest& request, const TaskControl& control, std::vector<TrainOutcome>& outcomes) {
  NetPlan plan;
  Status status = compileNet(request.net, request.precision, plan);
  if (status.ok()) status = checkRequest(request);
  if (!status.ok()) return status;

  const TrainBackend& backend = backendOf(request.gpu, request.isa);
  const TrainerSize size(request, backend);
  const int64_t jobs = static_cast<int64_t>(request.jobs.size());
  Workers workers;
  status = planWorkers(backend, request.gpu, request.gpuOptions,
                       {jobs, request.threads, Trainer::bytes(plan, backend, size), DeviceImages::bytes(request.data, request.net)}, workers);
  DataSets data;
  if (status.ok()) status = data.load(workers, request.data, request.net);
  if (!status.ok()) return status;

  QueueProgress progress{control};
  for (const TrainJob& job : request.jobs) progress.total += static_cast<double>(plannedImages(job));
  outcomes.assign(request.jobs.size(), {});
  return runQueue<Trainer>(
      jobs, workers, control, [&](int device) { return std::make_unique<Trainer>(request, plan, backend, data.of(device), size, progress); },
      [&](int64_t index, Trainer& trainer) { outcomes[static_cast<size_t>(index)] = trainer.run(request.jobs[static_cast<size_t>(index)]); });
}

Status forwardMany(const ForwardRequest& request, const TaskControl& control) {
  NetPlan plan;
  Status status = compileNet(request.net, request.precision, plan);
  if (status.ok()) status = checkData(request.data, request.net);
  if (status.ok()) status = checkPoints("points", request.points, request.numPoints, request.data.numPoints);
  if (!status.ok()) return status;

  const TrainBackend& backend = backendOf(request.gpu, request.isa);
  const int64_t models = static_cast<int64_t>(request.parameters.size());
  Workers workers;
  status = planWorkers(backend, request.gpu, request.gpuOptions,
                       {models, request.threads, Forwarder::bytes(request, plan, backend), DeviceImages::bytes(request.data, request.net)}, workers);
  DataSets data;
  if (status.ok()) status = data.load(workers, request.data, request.net);
  if (!status.ok()) return status;

  QueueProgress progress{control, static_cast<double>(request.numPoints) * static_cast<double>(models)};
  return runQueue<Forwarder>(
      models, workers, control, [&](int device) { return std::make_unique<Forwarder>(request, plan, backend, data.of(device)); },
      [&](int64_t model, Forwarder& forwarder) {
        forwarder.run(model, control);
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
  description.memoryBytes = NetRunner::bytes(plan, cpuBackend(isa), batchSize, true) + vectors * static_cast<int64_t>(sizeof(float));
  return Status::success();
}

}  // namespace lethe
