// Training on the GPU through the driver that the CPU has: gradients of whole networks, trainings beside the CPU's, and what must not
// show: workers, devices, order of threads. What must: too little memory, a failed launch, a model that diverges, an abort.
#include <atomic>

#include "cuda/gpu_table.h"
#include "train/net_check.h"
#include "train/train_fixture.h"
#ifdef LETHE_EMULATE_CUDA
#include "cuda/base/compiler.h"
#endif

using namespace lethe;
using namespace lethe::test;

namespace {

// Every op but convolutions: norms with and without ReLU, pools, sums, a vector head with bias, scale.
NetSpec plainNet() {
  NetSpec net{"plain", 7, 6, 3, 3, {}};
  LayerSpec scale = layer(LayerOp::scale, "logits", {"head"});
  scale.factor = 0.5f;
  net.layers = {layer(LayerOp::batchNorm, "n0", {"image"}),
                layer(LayerOp::relu, "r0", {"n0"}),
                pool("p1", "r0", 3, 2, 1),
                layer(LayerOp::batchNorm, "n1", {"p1"}),
                layer(LayerOp::add, "s1", {"n1", "p1"}),
                layer(LayerOp::relu, "r1", {"s1"}),
                layer(LayerOp::globalAveragePool, "pool", {"r1"}),
                head("head", "pool", true),
                scale};
  return net;
}

// Trained models of a request, and what the call said.
struct Trained {
  Status status;
  std::vector<TrainOutcome> outcomes;
  std::vector<std::vector<float>> parameters, logits;

  bool sameBytes(const Trained& other) const {
    const auto same = [](const std::vector<float>& a, const std::vector<float>& b) { return std::memcmp(a.data(), b.data(), a.size() * 4) == 0; };
    bool result = status.ok() && other.status.ok() && outcomes.size() == other.outcomes.size();
    for (size_t i = 0; result && i < outcomes.size(); ++i) {
      result = std::memcmp(&outcomes[i].loss, &other.outcomes[i].loss, 8) == 0 && outcomes[i].divergedAtEpoch == other.outcomes[i].divergedAtEpoch &&
               same(parameters[i], other.parameters[i]) && same(logits[i], other.logits[i]);
    }
    return result;
  }
};

Trained train(TrainRequest request, const Case& test, const TaskControl& control = {}) {
  Trained trained;
  request.evalEpochs = {0, 2, 3};
  for (TrainJob& job : request.jobs) {
    job.epochs = 3;
    trained.parameters.emplace_back(test.flat.size());
    trained.logits.emplace_back(static_cast<size_t>(3 * test.numPoints * test.net.numClasses));
    job.parameters = trained.parameters.back().data();
    job.logits = trained.logits.back().data();
  }
  trained.status = trainMany(request, control, trained.outcomes);
  return trained;
}

Target onGpu() { return {"the GPU", Isa::portable, &testGpu()}; }

// A job for each objective, the two-term job, Adam, and one that diverges in its second epoch.
std::vector<TrainJob> manyJobs(const Case& test) {
  std::vector<TrainJob> jobs{twoTermJob(test, testSgd()), twoTermJob(test, testAdam())};
  for (const Objective& objective : objectives()) {
    TrainJob job;
    job.seed = 3;
    job.modelIndex = jobs.size();
    PassTerm term{test.points.data(), test.numPoints, test.targets.data(), objective.weights, 1, 3};
    term.samplePerEpoch = 4;
    term.alwaysIncluded = 1;
    job.passes = {{{term}, INT64_MAX, true, {1, true}}};
    job.optimizer = testSgd();
    job.schedule = {Schedule::Kind::cosine, 0.02, 1, 1, {}};
    if (jobs.size() % 2 == 0) job.initialParameters = test.flat.data();
    jobs.push_back(job);
  }
  TrainJob wild = jobs[2];
  wild.schedule = {Schedule::Kind::steps, 1e-3, 1, 1e30, {1}};
  jobs.push_back(wild);
  return jobs;
}

// What the CPU trains, in fp32: within 1e-4 after several steps, and the same story of each job.
void checkBesideCpu(const Case& test, const Trained& gpu, const Trained& cpu) {
  if (!expect(gpu.status.ok() && cpu.status.ok(), test.net.name + " trains on both: " + gpu.status.message)) return;
  bool diverged = false;
  for (size_t i = 0; i < cpu.outcomes.size(); ++i) {
    const std::string what = test.net.name + ", job " + std::to_string(i);
    const TrainOutcome &a = gpu.outcomes[i], &b = cpu.outcomes[i];
    diverged = diverged || b.divergedAtEpoch == 2;
    expect(a.divergedAtEpoch == b.divergedAtEpoch && a.gradientImages == b.gradientImages, what + ": diverged and images");
    near({a.loss}, {b.loss}, 1e-4, what + ", loss");
    near(Values(gpu.parameters[i].begin(), gpu.parameters[i].end()), Values(cpu.parameters[i].begin(), cpu.parameters[i].end()), 1e-4, what + ", parameters");
    near(Values(gpu.logits[i].begin(), gpu.logits[i].end()), Values(cpu.logits[i].begin(), cpu.logits[i].end()), 1e-4, what + ", logits");
  }
  expect(diverged, test.net.name + ": one job diverges in its second epoch");
}

void checkTraining(const Case& test) {
  TrainRequest request = requestOf(test, onGpu());
  request.jobs = manyJobs(test);
  const Trained alone = train(request, test);
  TrainRequest other = request;
  other.gpu = nullptr;
  checkBesideCpu(test, alone, train(other, test));

  request.threads = 3;
  expect(train(request, test).sameBytes(alone), test.net.name + ": 3 workers give the bytes of one");
  request.precision = Precision::bf16;
  const Trained bf16 = train(request, test);
  request.threads = 1;
  expect(train(request, test).sameBytes(bf16), test.net.name + ": 3 workers give the bytes of one, bf16");
#ifdef LETHE_EMULATE_CUDA
  emulator::setThreadOrder(true);
  expect(train(request, test).sameBytes(bf16), test.net.name + ": backwards through the threads, bf16");
  request.precision = Precision::fp32;
  emulator::setDeviceCount(2);
  request.threads = 0;
  expect(train(request, test).sameBytes(alone), test.net.name + ": backwards through the threads, on two devices");
  emulator::setDeviceCount(1);
  emulator::setThreadOrder(false);
#endif
}

std::atomic<int64_t> replays{0};

// Steps that are replayed, and steps whose kernels are launched each time: the same bytes.
void checkRecordings(const Case& test) {
  TrainBackend backend = *testGpu().train;
  GpuOps gpu = testGpu();
  gpu.train = &backend;
  TrainRequest request = requestOf(test, onGpu());
  request.jobs = manyJobs(test);
  request.gpu = &gpu;
  backend.replay = [](void* recording) {
    ++replays;
    testGpu().train->replay(recording);
  };
  const Trained replayed = train(request, test);
  backend.record = nullptr;
  expect(train(request, test).sameBytes(replayed) && replays > 20,
         test.net.name + ": " + std::to_string(replays) + " replayed parts of steps do what their kernels do");
}

void checkForward(const Case& test) {
  ForwardRequest request;
  const TrainRequest common = requestOf(test, onGpu());
  request.net = common.net;
  request.gpu = common.gpu;
  request.data = common.data;
  request.points = common.evalPoints;
  request.numPoints = common.numEvalPoints;
  request.parameters = {test.flat.data(), test.flat.data()};
  const size_t perModel = static_cast<size_t>(test.numPoints * test.net.numClasses);
  std::vector<float> logits(2 * perModel), one(perModel);
  request.logits = logits.data();
  expect(forwardMany(request, TaskControl{}).ok(), test.net.name + " evaluates");
  NetReference model(test.net);
  Parameters parameters = named(test.plan.layout, test.flat);
  const Values wanted = model.forward(test.images(), false, parameters).data;
  checkClose(test.net.name + ", logits", wanted, logits.data(), 2e-5);
  expect(std::memcmp(logits.data(), logits.data() + perModel, perModel * 4) == 0, test.net.name + ": equal models, equal logits");
  request.parameters.resize(1);
  request.points += 2;  // other points in the batch
  request.numPoints = 1;
  request.logits = one.data();
  expect(forwardMany(request, TaskControl{}).ok() &&
             std::memcmp(one.data(), logits.data() + 2 * test.net.numClasses, static_cast<size_t>(test.net.numClasses) * 4) == 0,
         test.net.name + ": logits of a point do not depend on its batch");
}

void checkAbort(const Case& test) {
  std::atomic<int32_t> abort{1};
  TrainRequest request = requestOf(test, onGpu());
  request.jobs = manyJobs(test);
  TaskControl control;
  control.abortFlag = &abort;
  expect(train(request, test, control).status.code == "LETHE_TASK_ABORTED", "an abort ends the call");
  abort.store(0);
  control.onProgress = [&](double done, double) { abort.store(done > 20 ? 1 : 0); };
  expect(train(request, test, control).status.code == "LETHE_TASK_ABORTED", "an abort in the middle ends the call");
}

void checkDevices(const Case& test) {
  TrainRequest request = requestOf(test, onGpu());
  request.jobs = manyJobs(test);
  request.gpuOptions.devices = {testGpu().deviceCount()};
  expect(train(request, test).status.code == "LETHE_GPU_UNAVAILABLE", "a device that is not there");
}

#ifdef LETHE_EMULATE_CUDA
// The process and the next call live on.
void checkFailures(const Case& test) {
  TrainRequest request = requestOf(test, onGpu());
  request.jobs = manyJobs(test);
  request.threads = 2;
  const Trained whole = train(request, test);
  const int64_t kept = emulator::allocatedBytes();
  for (const int64_t launch : {0, 1, 40, 300}) {
    emulator::failAtLaunch(launch);
    expect(train(request, test).status.code == "LETHE_GPU_FAILED", "launch " + std::to_string(launch) + " fails: the call says so");
    emulator::failAtLaunch(-1);
  }
  expect(emulator::allocatedBytes() == kept, "failed calls give their memory back");
  expect(train(request, test).sameBytes(whole), "after failures the next call trains");
}

void checkMemory(const Case& test) {
  TrainRequest request = requestOf(test, onGpu());
  request.jobs = manyJobs(test);
  request.threads = 0;
  const Trained whole = train(request, test);
  request.gpuOptions.memoryBytes = 1 << 20;
  const Status none = train(request, test).status;
  expect(none.code == "LETHE_GPU_MEMORY_EXHAUSTED" && none.message.find(" of one model") != std::string::npos, "too little for one model: " + none.message);
  for (const int64_t megabytes : {20, 40, 100}) {
    emulator::resetPeak();
    const int64_t before = emulator::allocatedBytes();
    request.gpuOptions.memoryBytes = megabytes << 20;
    expect(train(request, test).sameBytes(whole) && emulator::peakBytes() - before <= request.gpuOptions.memoryBytes,
           "stays within " + std::to_string(megabytes) + " MB: " + std::to_string(emulator::peakBytes() - before));
  }
  request.gpuOptions.memoryBytes = int64_t{1} << 40;  // more than there is: allocation fails
  emulator::setMemoryLimit(emulator::allocatedBytes() + (6 << 20));
  expect(train(request, test).status.code == "LETHE_GPU_MEMORY_EXHAUSTED", "an allocation fails");
  emulator::setMemoryLimit(INT64_MAX);
  request.gpuOptions.memoryBytes = 0;
  expect(train(request, test).sameBytes(whole), "after that the next call trains");
}
#endif

}  // namespace

int main() {
  if (testGpu().deviceCount() == 0) {
    skip("no GPU");
    return finish();
  }
  const std::vector<NetSpec> all{plainNet(), residualNet(), tangledNet(), basicBlockNet(), vectorNet()};
  for (const NetSpec& net : all) {
    Case test(net);
    for (const Objective& objective : objectives()) {
      for (const bool train : {true, false}) checkGradients(test, objective, train, onGpu()), checkBf16Gradients(test, objective, train, onGpu());
    }
    checkTrajectory(test, testSgd(), "SGD", onGpu());
    checkTrajectory(test, testAdam(), "Adam", onGpu());
    checkForward(test);
  }
  for (const NetSpec& net : {all[0], all[1]}) checkTraining(Case(net));
  const Case test(all.front());
  checkRecordings(test);
  checkAbort(test);
  checkDevices(test);
#ifdef LETHE_EMULATE_CUDA
  checkFailures(test);
  checkMemory(test);
#endif
  return finish();
}
