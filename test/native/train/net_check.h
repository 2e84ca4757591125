// What every target that trains is held to: gradients of whole networks and short trainings, against the double-precision network.
#pragma once
#include <algorithm>

#include "core/train/net_runner.h"
#include "core/train/sampler.h"
#include "lethe/train/train.h"
#include "train/net_cases.h"

namespace lethe::test {

using reference::NetReference;

// Where a net runs in a test.
struct Target {
  std::string name;
  Isa isa = Isa::portable;
  const GpuOps* gpu = nullptr;
  const TrainBackend& backend() const { return gpu ? *gpu->train : cpuBackend(isa); }
};

inline void checkClose(const std::string& what, const Values& expected, const float* received, double tolerance) {
  double scale = 1e-6, worst = 0;
  for (double value : expected) scale = std::max(scale, std::fabs(value));
  for (size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, std::fabs(expected[i] - static_cast<double>(received[i])));
  expect(worst <= tolerance * scale, what + ": error " + std::to_string(worst / scale));
}

// One model on a target: forward, loss of weight 0.7 and backward of all points of the case.
class TestedNet {
 public:
  TestedNet(const Case& test, const NetPlan& plan, const TrainBackend& backend)
      : test_(test),
        plan_(plan),
        backend_(backend),
        runner_(plan, backend, test.numPoints + 2, true),
        vectors_(backend, 8 + static_cast<int64_t>(sizeof(float)) * (plan.layout.numParameters + plan.layout.numTrainable)),
        pixels_(backend, static_cast<int64_t>(test.pixels.size())),
        points_(backend, test.numPoints * 4),
        labels_(backend, test.numPoints * 4),
        targets_(backend, static_cast<int64_t>(test.targets.size()) * 4),
        mean_(backend, 12),
        std_(backend, 12) {}

  void run(const LossWeights& weights, bool train) {
    const int64_t n = test_.numPoints, numParameters = plan_.layout.numParameters, numTrainable = plan_.layout.numTrainable;
    double* lossAt = reinterpret_cast<double*>(vectors_.data());
    float *parametersAt = reinterpret_cast<float*>(lossAt + 1), *gradientAt = parametersAt + numParameters;
    backend_.upload(parametersAt, test_.flat.data(), numParameters * 4);
    runner_.gather(n, pixels_.send(test_.pixels.data(), static_cast<int64_t>(test_.pixels.size())), points_.send(test_.points.data(), n), nullptr,
                   mean_.send(test_.mean.data(), 3), std_.send(test_.std.data(), 3));
    runner_.forward(n, train, parametersAt);
    backend_.fp32->loss(weights, 0.7f, n, test_.net.numClasses, runner_.logits(), labels_.send(test_.labels.data(), n),
                        targets_.send(test_.targets.data(), static_cast<int64_t>(test_.targets.size())), runner_.logitsGradient(), lossAt);
    runner_.backward(n, train, parametersAt, gradientAt);
    parameters.resize(static_cast<size_t>(numParameters));
    gradient.resize(static_cast<size_t>(numTrainable));
    logits.resize(test_.targets.size());
    backend_.download(parameters.data(), parametersAt, numParameters * 4);
    backend_.download(gradient.data(), gradientAt, numTrainable * 4);
    backend_.download(logits.data(), runner_.logits(), static_cast<int64_t>(logits.size()) * 4);
    backend_.download(&loss, lossAt, 8);
  }

  std::vector<float> parameters, gradient, logits;
  double loss = 0;

 private:
  const Case& test_;
  const NetPlan& plan_;
  const TrainBackend& backend_;
  NetRunner runner_;
  Arena vectors_;
  Upload pixels_, points_, labels_, targets_, mean_, std_;
};

inline void checkGradients(Case& test, const Objective& objective, bool train, const Target& target) {
  const std::string what = test.net.name + ", " + objective.name + (train ? ", train, " : ", eval, ") + target.name;
  const DeviceUse use(target.backend(), 0);
  TestedNet net(test, test.plan, target.backend());
  for (int repeat = 0; repeat < 2; ++repeat) net.run(objective.weights, train);  // the second time with dirty buffers

  NetReference model(test.net);
  Parameters wanted = named(test.plan.layout, test.flat);
  checkClose(what + ", logits", model.forward(test.images(), train, wanted).data, net.logits.data(), 2e-5);
  Values dLogits;
  const double wantedLoss = test.referenceLoss(objective.weights, 0.7f, train, named(test.plan.layout, test.flat), dLogits);
  expect(std::fabs(net.loss - wantedLoss) < 1e-5 * (1 + std::fabs(wantedLoss)), what + ", loss");
  const Parameters gradients = model.backward(dLogits, wanted);
  double scale = 0;  // one for the net: where a tensor's gradient is zero (a bias before a norm) only rounding is left
  for (const auto& [name, values] : gradients) {
    for (double value : values) scale = std::max(scale, std::fabs(value));
  }
  for (const ParameterTensor& tensor : test.plan.layout.tensors) {
    if (!tensor.trainable) {
      checkClose(what + ", " + tensor.name, wanted.at(tensor.name), net.parameters.data() + tensor.offset, 1e-5);
      continue;
    }
    double worst = 0;
    for (int64_t k = 0; k < tensor.size; ++k)
      worst = std::max(worst, std::fabs(gradients.at(tensor.name)[static_cast<size_t>(k)] - net.gradient[static_cast<size_t>(tensor.offset + k)]));
    expect(worst <= 2e-5 * scale, what + ", gradient of " + tensor.name + ": error " + std::to_string(worst / scale));
  }
}

// Of bf16 images every value is off by up to 2^-9 of itself, and ReLU and max-pool may choose otherwise where two inputs are that close; so
// the whole gradient is compared as a vector, and the loss. Norms over seven images are ill-conditioned: rounding nothing but the weights
// of the double-precision network changes its gradient by up to 7 %.
inline void checkBf16Gradients(Case& test, const Objective& objective, bool train, const Target& target) {
  const std::string what = test.net.name + ", bf16, " + objective.name + (train ? ", train, " : ", eval, ") + target.name;
  const DeviceUse use(target.backend(), 0);
  TestedNet net(test, test.bf16Plan, target.backend());
  net.run(objective.weights, train);

  NetReference model(test.net);
  Parameters wanted = named(test.plan.layout, test.flat);
  Values dLogits;
  const double wantedLoss = test.referenceLoss(objective.weights, 0.7f, train, wanted, dLogits);
  expect(std::fabs(net.loss - wantedLoss) < 0.02 * (1 + std::fabs(wantedLoss)), what + ", loss " + std::to_string(net.loss - wantedLoss));
  model.forward(test.images(), train, wanted);
  const Parameters gradients = model.backward(dLogits, wanted);
  double error = 0, size = 0;
  for (const ParameterTensor& tensor : test.plan.layout.tensors) {
    for (int64_t k = 0; tensor.trainable && k < tensor.size; ++k) {
      const double exact = gradients.at(tensor.name)[static_cast<size_t>(k)], off = net.gradient[static_cast<size_t>(tensor.offset + k)] - exact;
      error += off * off;
      size += exact * exact;
    }
  }
  const double tolerance = train ? 0.3 : 0.05;
  expect(error <= tolerance * tolerance * size, what + ", gradient: relative error " + std::to_string(std::sqrt(error / size)));
}

// Two weighted terms with augmented images and a second pass, every batch a whole index set.
inline TrainJob twoTermJob(const Case& test, const Optimizer& optimizer) {
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

  // Placements by row of the term, from the words that core/train/sampler.h promises.
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
      if (job.optimizer.kind == Optimizer::Kind::sgd)
        reference::sgdStep(rate, job.optimizer.momentum, job.optimizer.weightDecay, values, first[name], parameters[name]);
      else
        reference::adamStep(steps, rate, job.optimizer.beta1, job.optimizer.beta2, job.optimizer.epsilon, job.optimizer.weightDecay, values, first[name],
                            second[name], parameters[name]);
    }
  }
};

// A request without jobs that evaluates all points.
inline TrainRequest requestOf(const Case& test, const Target& target) {
  TrainRequest request;
  request.net = test.net;
  request.isa = target.isa;
  request.gpu = target.gpu;
  request.threads = 1;
  request.data = {test.pixels.data(), test.labels.data(), test.numPoints, test.mean, test.std};
  request.data.mean.resize(static_cast<size_t>(test.net.channels));
  request.data.std.resize(static_cast<size_t>(test.net.channels));
  request.evalPoints = test.points.data();
  request.numEvalPoints = test.numPoints;
  return request;
}

inline void checkTrajectory(const Case& test, const Optimizer& optimizer, const char* name, const Target& target) {
  std::vector<float> parameters(test.flat.size()), logits(static_cast<size_t>(test.numPoints * test.net.numClasses));
  TrainRequest request = requestOf(test, target);
  request.jobs = {twoTermJob(test, optimizer)};
  request.jobs[0].parameters = parameters.data();
  request.jobs[0].logits = logits.data();
  request.evalEpochs = {4};
  std::vector<TrainOutcome> outcomes;
  const Status status = trainMany(request, TaskControl{}, outcomes);
  if (!expect(status.ok(), std::string(name) + " trains: " + status.message)) return;
  expect(outcomes[0].divergedAtEpoch == 0 && outcomes[0].gradientImages == 3 * 7 + 4 * 4, std::string(name) + " counts its images");

  ReferenceTrainer trainer{test, named(test.plan.layout, test.flat), {}, {}};
  trainer.run(request.jobs[0]);
  const std::string what = test.net.name + ", trained by " + name + " on " + target.name;
  for (const ParameterTensor& tensor : test.plan.layout.tensors) {
    checkClose(what + ", " + tensor.name, trainer.parameters.at(tensor.name), parameters.data() + tensor.offset, 5e-4);
  }
  NetReference model(test.net);
  checkClose(what + ", logits", model.forward(test.images(), false, trainer.parameters).data, logits.data(), 5e-4);
}

inline Optimizer testSgd() {
  Optimizer sgd;
  sgd.momentum = 0.9f;
  sgd.weightDecay = 5e-4f;
  return sgd;
}
inline Optimizer testAdam() {
  Optimizer adam;
  adam.kind = Optimizer::Kind::adam;
  adam.epsilon = 1e-3f;  // large enough that gradients of rounding size do not become steps of full size
  return adam;
}

}  // namespace lethe::test
