// The whole network against an independent double-precision network, that network against finite differences, and short trainings
// of both, step for step.
#include "lethe/train.h"

#include <algorithm>

#include "core/net_runner.h"
#include "core/sampler.h"
#include "net_cases.h"

using namespace lethe;
using namespace lethe::test;
using reference::NetReference;

namespace {

void checkClose(const std::string& what, const Values& expected, const float* received, double tolerance) {
  double scale = 1e-6, worst = 0;
  for (double value : expected) scale = std::max(scale, std::fabs(value));
  for (size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, std::fabs(expected[i] - static_cast<double>(received[i])));
  expect(worst <= tolerance * scale, what + ": error " + std::to_string(worst / scale));
}

void checkGradients(Case& test, const Objective& objective, bool train, Isa isa) {
  const std::string what = test.net.name + ", " + objective.name + (train ? ", train, " : ", eval, ") + isaName(isa);
  const TrainKernels& kernels = trainKernels(isa);
  const int64_t n = test.numPoints;
  NetRunner runner(test.plan, cpuBackend(isa), n + 2, true);
  std::vector<float> parameters = test.flat, gradient(static_cast<size_t>(test.plan.layout.numTrainable));
  double loss = 0;
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second time with dirty buffers
    parameters = test.flat;
    runner.gather(n, test.pixels.data(), test.points.data(), nullptr, test.mean.data(), test.std.data());
    runner.forward(n, train, parameters.data());
    kernels.loss(objective.weights, 0.7f, n, test.net.numClasses, runner.logits(), test.labels.data(), test.targets.data(), runner.logitsGradient(), &loss);
    runner.backward(n, train, parameters.data(), gradient.data());
  }

  NetReference model(test.net);
  Parameters wanted = named(test.plan.layout, test.flat);
  checkClose(what + ", logits", model.forward(test.images(), train, wanted).data, runner.logits(), 2e-5);
  Values dLogits;
  const double wantedLoss = test.referenceLoss(objective.weights, 0.7f, train, named(test.plan.layout, test.flat), dLogits);
  expect(std::fabs(loss - wantedLoss) < 1e-5 * (1 + std::fabs(wantedLoss)), what + ", loss");
  const Parameters gradients = model.backward(dLogits, wanted);
  double scale = 0;  // one for the net: where a tensor's gradient is zero (a bias before a norm) only rounding is left
  for (const auto& [name, values] : gradients) {
    for (double value : values) scale = std::max(scale, std::fabs(value));
  }
  for (const ParameterTensor& tensor : test.plan.layout.tensors) {
    if (!tensor.trainable) {
      checkClose(what + ", " + tensor.name, wanted.at(tensor.name), parameters.data() + tensor.offset, 1e-5);
      continue;
    }
    double worst = 0;
    for (int64_t k = 0; k < tensor.size; ++k) worst = std::max(worst, std::fabs(gradients.at(tensor.name)[static_cast<size_t>(k)] - gradient[static_cast<size_t>(tensor.offset + k)]));
    expect(worst <= 2e-5 * scale, what + ", gradient of " + tensor.name + ": error " + std::to_string(worst / scale));
  }
}

// Of bf16 images every value is off by up to 2^-9 of itself, and ReLU and max-pool may choose otherwise where two inputs are that close; so
// the whole gradient is compared as a vector, and the loss. Norms over seven images are ill-conditioned: rounding nothing but the weights
// of the double-precision network changes its gradient by up to 7 %.
void checkBf16Gradients(Case& test, const Objective& objective, bool train, Isa isa) {
  const std::string what = test.net.name + ", bf16, " + objective.name + (train ? ", train, " : ", eval, ") + isaName(isa);
  const int64_t n = test.numPoints;
  NetRunner runner(test.bf16Plan, cpuBackend(isa), n, true);
  std::vector<float> parameters = test.flat, gradient(static_cast<size_t>(test.plan.layout.numTrainable));
  runner.gather(n, test.pixels.data(), test.points.data(), nullptr, test.mean.data(), test.std.data());
  runner.forward(n, train, parameters.data());
  double loss = 0;
  trainKernels(isa).loss(objective.weights, 0.7f, n, test.net.numClasses, runner.logits(), test.labels.data(), test.targets.data(),
                         runner.logitsGradient(), &loss);
  runner.backward(n, train, parameters.data(), gradient.data());

  NetReference model(test.net);
  Parameters wanted = named(test.plan.layout, test.flat);
  Values dLogits;
  const double wantedLoss = test.referenceLoss(objective.weights, 0.7f, train, wanted, dLogits);
  expect(std::fabs(loss - wantedLoss) < 0.02 * (1 + std::fabs(wantedLoss)), what + ", loss " + std::to_string(loss - wantedLoss));
  model.forward(test.images(), train, wanted);
  const Parameters gradients = model.backward(dLogits, wanted);
  double error = 0, size = 0;
  for (const ParameterTensor& tensor : test.plan.layout.tensors) {
    for (int64_t k = 0; tensor.trainable && k < tensor.size; ++k) {
      const double exact = gradients.at(tensor.name)[static_cast<size_t>(k)], off = gradient[static_cast<size_t>(tensor.offset + k)] - exact;
      error += off * off;
      size += exact * exact;
    }
  }
  const double tolerance = train ? 0.3 : 0.05;
  expect(error <= tolerance * tolerance * size, what + ", gradient: relative error " + std::to_string(std::sqrt(error / size)));
}

// The reference's own gradients, by central differences at a few places of every tensor.
void checkReference(const Case& test, const Objective& objective, bool train) {
  const double step = 1e-6;
  NetReference model(test.net);
  const Parameters start = named(test.plan.layout, test.flat);
  Parameters moved = start;
  Values dLogits, unused;
  model.forward(test.images(), train, moved);
  test.referenceLoss(objective.weights, 1, train, start, dLogits);
  const Parameters gradients = model.backward(dLogits, start);
  for (const auto& [name, values] : gradients) {
    for (size_t k = 0; k < values.size(); k += std::max<size_t>(1, values.size() / 2)) {
      Parameters up = start, down = start;
      up[name][k] += step;
      down[name][k] -= step;
      const double numeric = (test.referenceLoss(objective.weights, 1, train, up, unused) - test.referenceLoss(objective.weights, 1, train, down, unused)) / (2 * step);
      expect(std::fabs(numeric - values[k]) < 2e-6 * (1 + std::fabs(values[k])),
             test.net.name + ", " + objective.name + ", reference gradient of " + name + ": " + std::to_string(values[k]) + " but numerically " + std::to_string(numeric));
    }
  }
}

// Two weighted terms with augmented images and a second pass, every batch a whole index set.
TrainJob twoTermJob(const Case& test, const Optimizer& optimizer) {
  PassTerm forget{test.points.data(), 3, test.targets.data(), {0, 0, 1, -0.5f, 2}, 0.6f, 3};
  PassTerm retain{test.points.data() + 3, 4, nullptr, {1, 0.1f, 0, 0, 1}, 1.3f, 4};
  TrainJob job;
  job.epochs = 4;
  job.seed = 21;
  job.modelIndex = 4;
  job.passes = {{{forget, retain}, 3, true, {2, true}}, {{retain}, INT64_MAX, false, {}}};
  job.optimizer = optimizer;
  job.schedule = {Schedule::Kind::triangle, 0.05, 1, 1, {}};
  job.initialParameters = test.flat.data();
  return job;
}

struct ReferenceTrainer {
  const Case& test;
  Parameters parameters, first, second;
  int64_t steps = 0;

  // Placements by row of the term, from the words that core/sampler.h promises.
  static std::vector<ImagePlacement> placements(const TrainJob& job, const Augmentation& augmentation, const PassTerm& from, uint32_t stream) {
    Sampler order(from.count, from.count, 0, Random(job.seed, Purpose::shuffle, job.modelIndex, stream));
    Random words(job.seed, Purpose::augment, job.modelIndex, stream);
    std::vector<ImagePlacement> result(static_cast<size_t>(from.count));
    const double padding = static_cast<double>(augmentation.cropPadding);
    const auto offset = [&] { return static_cast<int32_t>(std::floor(words.next() * (2 * padding + 1) * 0x1p-32) - padding); };
    for (int64_t k = 0; k < from.count; ++k) {
      ImagePlacement& place = result[static_cast<size_t>(order.draw())];
      place.down = offset();
      place.right = offset();
      place.flip = words.next() >= 0x80000000u && augmentation.flip;
      words.next();
    }
    return result;
  }

  Parameters term(const PassTerm& from, bool train, const std::vector<ImagePlacement>& places) {
    const size_t start = static_cast<size_t>(from.indices - test.points.data()), count = static_cast<size_t>(from.count);
    std::vector<int32_t> index(test.points.begin() + static_cast<int64_t>(start), test.points.begin() + static_cast<int64_t>(start + count));
    std::vector<int32_t> labels(test.labels.begin() + static_cast<int64_t>(start), test.labels.begin() + static_cast<int64_t>(start + count));
    const Values targets = from.targets ? Values(from.targets, from.targets + from.count * test.net.numClasses) : Values{};
    NetReference model(test.net);
    const Tensor images = reference::gatherImages(test.pixels, index, Values(test.mean.begin(), test.mean.end()), Values(test.std.begin(), test.std.end()),
                                                  test.net.height, test.net.width, test.net.channels, places);
    const Values logits = model.forward(images, train, parameters).data;
    Values dLogits;
    reference::loss(from.objective, from.weight, from.count, test.net.numClasses, logits, labels, targets, dLogits);
    return model.backward(dLogits, parameters);
  }

  void run(const TrainJob& job) {
    for (int64_t epoch = 0; epoch < job.epochs; ++epoch) {
      const double active = epoch < job.passes[0].activeEpochs ? 2 : 1;
      double step = 0;
      for (size_t p = 0; p < job.passes.size(); ++p) {
        const Pass& pass = job.passes[p];
        if (epoch >= pass.activeEpochs) continue;
        Parameters gradient;
        for (size_t t = 0; t < pass.terms.size(); ++t) {
          const uint32_t stream = static_cast<uint32_t>(256 * epoch) + static_cast<uint32_t>(16 * p + t);
          for (const auto& [name, values] : term(pass.terms[t], pass.trainBatchNorm, placements(job, pass.augmentation, pass.terms[t], stream))) {
            Values& sum = gradient[name];
            sum.resize(values.size());
            for (size_t k = 0; k < values.size(); ++k) sum[k] += values[k];
          }
        }
        update(job, gradient, learningRate(job.schedule, static_cast<double>(epoch) + step++ / active, static_cast<double>(job.epochs)));
      }
    }
  }

  void update(const TrainJob& job, const Parameters& gradient, double rate) {
    ++steps;
    for (const auto& [name, values] : gradient) {
      first[name].resize(values.size());
      second[name].resize(values.size());
      if (job.optimizer.kind == Optimizer::Kind::sgd) reference::sgdStep(rate, job.optimizer.momentum, job.optimizer.weightDecay, values, first[name], parameters[name]);
      else reference::adamStep(steps, rate, job.optimizer.beta1, job.optimizer.beta2, job.optimizer.epsilon, job.optimizer.weightDecay, values, first[name], second[name], parameters[name]);
    }
  }
};

void checkTrajectory(const Case& test, const Optimizer& optimizer, const char* name, Isa isa) {
  std::vector<float> parameters(test.flat.size()), logits(static_cast<size_t>(test.numPoints * test.net.numClasses));
  TrainRequest request;
  request.net = test.net;
  request.isa = isa;
  request.threads = 1;
  request.data = {test.pixels.data(), test.labels.data(), test.numPoints, test.mean, test.std};
  request.data.mean.resize(static_cast<size_t>(test.net.channels));
  request.data.std.resize(static_cast<size_t>(test.net.channels));
  request.jobs = {twoTermJob(test, optimizer)};
  request.jobs[0].parameters = parameters.data();
  request.jobs[0].logits = logits.data();
  request.evalPoints = test.points.data();
  request.numEvalPoints = test.numPoints;
  request.evalEpochs = {4};
  std::vector<TrainOutcome> outcomes;
  const Status status = trainMany(request, TaskControl{}, outcomes);
  if (!expect(status.ok(), std::string(name) + " trains: " + status.message)) return;
  expect(outcomes[0].divergedAtEpoch == 0 && outcomes[0].gradientImages == 3 * 7 + 4 * 4, std::string(name) + " counts its images");

  ReferenceTrainer trainer{test, named(test.plan.layout, test.flat), {}, {}};
  trainer.run(request.jobs[0]);
  const std::string what = test.net.name + ", trained by " + name + " on " + isaName(isa);
  for (const ParameterTensor& tensor : test.plan.layout.tensors) {
    checkClose(what + ", " + tensor.name, trainer.parameters.at(tensor.name), parameters.data() + tensor.offset, 5e-4);
  }
  NetReference model(test.net);
  checkClose(what + ", logits", model.forward(test.images(), false, trainer.parameters).data, logits.data(), 5e-4);
}

// One image and one pixel: the variance is of one value, and nothing may become NaN.
void checkSingleValueNorm() {
  NetSpec net{"single", 2, 2, 2, 3, {}};
  net.layers = {conv("c1", "image", 4, 2, 1, 0), layer(LayerOp::batchNorm, "n1", {"c1"}), layer(LayerOp::globalMaxPool, "pool", {"n1"}), head("logits", "pool", true)};
  Case test(net);
  const TrainKernels& kernels = trainKernels(availableIsas().back());
  NetRunner runner(test.plan, cpuBackend(availableIsas().back()), 1, true);
  std::vector<float> gradient(static_cast<size_t>(test.plan.layout.numTrainable));
  runner.gather(1, test.pixels.data(), test.points.data(), nullptr, test.mean.data(), test.std.data());
  runner.forward(1, true, test.flat.data());
  double loss = 0;
  kernels.loss({1, 0, 0, 0, 1}, 1, 1, 3, runner.logits(), test.labels.data(), nullptr, runner.logitsGradient(), &loss);
  runner.backward(1, true, test.flat.data(), gradient.data());
  const auto finite = [](float value) { return std::isfinite(value); };
  expect(std::all_of(gradient.begin(), gradient.end(), finite) && std::all_of(test.flat.begin(), test.flat.end(), finite), "a norm over one value stays finite");
}

// Errors that no shape check of a well-formed net would meet.
void checkRefusals() {
  NetSpec unused = residualNet(), huge = residualNet(), renamed = residualNet();
  unused.layers.insert(unused.layers.begin() + 3, conv("extra", "r1", 4, 1, 1, 0));
  huge.layers[0].outChannels = int64_t{1} << 40;
  renamed.layers[5].inputs = {"later"};
  for (const auto& [net, name] : {std::pair{unused, "\"extra\""}, std::pair{huge, "\"c1\""}, std::pair{renamed, "\"later\""}}) {
    NetPlan plan;
    const Status status = compileNet(net, Precision::fp32, plan);
    expect(status.code == "LETHE_NET_INVALID" && status.message.find(name) != std::string::npos, "refuses a net and names " + std::string(name) + ": " + status.message);
  }
}

}  // namespace

int main() {
  Optimizer sgd, adam;
  sgd.momentum = 0.9f;
  sgd.weightDecay = 5e-4f;
  adam.kind = Optimizer::Kind::adam;
  adam.epsilon = 1e-3f;  // large enough that gradients of rounding size do not become steps of full size
  for (const NetSpec& net : {residualNet(), tangledNet(), basicBlockNet(), vectorNet()}) {
    Case test(net);
    for (const Objective& objective : objectives()) {
      for (const bool train : {true, false}) {
        for (Isa isa : availableIsas()) checkGradients(test, objective, train, isa), checkBf16Gradients(test, objective, train, isa);
        checkReference(test, objective, train);
      }
    }
    for (Isa isa : availableIsas()) {
      checkTrajectory(test, sgd, "SGD", isa);
      checkTrajectory(test, adam, "Adam", isa);
    }
  }
  checkSingleValueNorm();
  checkRefusals();
  return finish();
}
