// Training: ResNet-9, images, the check against the CPU, timed steps and whole models.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "bench/bench.h"
#include "lethe/base/random.h"

namespace lethe::bench {

namespace {

LayerSpec layer(LayerOp op, const std::string& name, std::vector<std::string> inputs) {
  LayerSpec spec;
  spec.op = op;
  spec.name = name;
  spec.inputs = std::move(inputs);
  spec.epsilon = 1e-5f;
  spec.momentum = 0.1f;
  return spec;
}

// Convolution without bias, BatchNorm, ReLU; returns the name of the last layer.
std::string block(NetSpec& net, const std::string& name, const std::string& input, int64_t channels, int64_t kernel, int64_t stride, int64_t pad) {
  LayerSpec conv = layer(LayerOp::conv, name + ".conv", {input});
  conv.outChannels = channels;
  conv.kernel = kernel;
  conv.stride = stride;
  conv.pad = pad;
  net.layers.push_back(conv);
  net.layers.push_back(layer(LayerOp::batchNorm, name + ".norm", {name + ".conv"}));
  net.layers.push_back(layer(LayerOp::relu, name + ".relu", {name + ".norm"}));
  return name + ".relu";
}

std::string residual(NetSpec& net, const std::string& name, const std::string& input, int64_t channels) {
  const std::string first = block(net, name + ".a", input, channels, 3, 1, 1);
  const std::string second = block(net, name + ".b", first, channels, 3, 1, 1);
  net.layers.push_back(layer(LayerOp::add, name + ".add", {input, second}));
  return name + ".add";
}

constexpr int64_t kSide = 32, kPixelBytes = kSide * kSide * 3;

// Steps of SGD with the recipe's momentum and weight decay on rows of images, in order of drawing.
TrainJob job(uint64_t model, const std::vector<int32_t>& indices, int64_t batchSize, int64_t epochs, const Schedule& schedule, float* parameters,
             float* logits) {
  TrainJob result;
  result.modelIndex = model;
  result.epochs = epochs;
  result.optimizer.momentum = 0.9f;
  result.optimizer.weightDecay = 5e-4f;
  result.schedule = schedule;
  PassTerm term;
  term.indices = indices.data();
  term.count = static_cast<int64_t>(indices.size());
  term.objective.crossEntropy = 1;
  term.batchSize = batchSize;
  Pass pass;
  pass.terms = {term};
  result.passes = {pass};
  result.parameters = parameters;
  result.logits = logits;
  return result;
}

Schedule constantRate(double rate) {
  Schedule schedule;
  schedule.learningRate = rate;
  return schedule;
}

// Of the changes from `initial` to `theirs` in elements [begin, end).
double relativeDifference(const std::vector<float>& initial, const std::vector<float>& ours, const std::vector<float>& theirs, size_t begin, size_t end) {
  double difference = 0, change = 0;
  for (size_t i = begin; i < end; ++i) {
    difference += std::pow(static_cast<double>(ours[i]) - theirs[i], 2);
    change += std::pow(static_cast<double>(theirs[i]) - initial[i], 2);
  }
  return std::sqrt(difference / change);
}

// Relative difference of what three steps of one model change in what it learns or in its running statistics, the larger: this request's
// against the CPU's in fp32. Negative: status.
double changeDifference(TrainRequest request, int64_t batch, Status& status) {
  constexpr int64_t kSteps = 3;
  NetDescription description;
  status = describeNet(request.net, Isa::portable, Precision::fp32, batch, description);
  if (!status.ok()) return -1;
  const auto count = static_cast<size_t>(description.layout.numParameters);
  std::vector<int32_t> rows(static_cast<size_t>(kSteps * batch));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i % static_cast<size_t>(request.data.numPoints));
  std::vector<float> initial(count), ours(count), theirs(count);
  initialiseParameters(description.layout, 0, 0, initial.data());
  std::vector<TrainOutcome> outcomes;
  request.jobs = {job(0, rows, batch, 1, constantRate(1e-3), ours.data(), nullptr)};
  status = trainMany(request, {}, outcomes);
  if (!status.ok()) return -1;
  request.gpu = nullptr;
  request.precision = Precision::fp32;
  request.jobs[0].parameters = theirs.data();
  status = resolveIsa("", request.isa);
  if (status.ok()) status = trainMany(request, {}, outcomes);
  if (!status.ok()) return -1;
  const auto learned = static_cast<size_t>(description.layout.numTrainable);
  const double ofLearned = relativeDifference(initial, ours, theirs, 0, learned), ofStatistics = relativeDifference(initial, ours, theirs, learned, count);
  return ofLearned >= ofStatistics || std::isnan(ofLearned) ? ofLearned : ofStatistics;
}

void addRates(Row& row, const std::vector<TrainOutcome>& outcomes, const std::vector<double>& trials, const NetSpec& net, double peakTflops) {
  const double seconds = addTimes(row, trials);
  double images = 0;
  for (const TrainOutcome& outcome : outcomes) {
    images += static_cast<double>(outcome.gradientImages);
    if (outcome.divergedAtEpoch != 0) row.problem = "a model diverged";
  }
  const double tflops = images / seconds * operationsPerImage(net) * 1e-12;
  row.numbers.insert(row.numbers.end(), {{"imagesPerSecond", images / seconds}, {"tflops", tflops}});
  if (peakTflops > 0) row.numbers.push_back({"shareOfPeak", tflops / peakTflops});
}

std::string failure(const Status& status) { return status.code + ": " + status.message; }

}  // namespace

NetSpec resnet9(int64_t width) {
  NetSpec net{width == 1 ? "resnet9" : "resnet9/" + std::to_string(width), kSide, kSide, 3, 10, {}};
  const int64_t small = 64 / width, middle = 128 / width, large = 256 / width;
  std::string last = block(net, "block1", "image", small, 3, 1, 1);
  last = residual(net, "residual1", block(net, "block2", last, middle, 5, 2, 2), middle);
  LayerSpec pool = layer(LayerOp::maxPool, "pool", {block(net, "block3", last, large, 3, 1, 1)});
  pool.size = pool.stride = 2;
  net.layers.push_back(pool);
  last = block(net, "block4", residual(net, "residual2", "pool", large), middle, 3, 1, 0);
  net.layers.push_back(layer(LayerOp::globalMaxPool, "globalPool", {last}));
  LayerSpec head = layer(LayerOp::linear, "head", {"globalPool"});
  head.outFeatures = net.numClasses;
  net.layers.push_back(head);
  LayerSpec scale = layer(LayerOp::scale, "logits", {"head"});
  scale.factor = 0.2f;
  net.layers.push_back(scale);
  return net;
}

double operationsPerImage(const NetSpec& net) {
  std::vector<ValueShape> shapes;
  if (!inferShapes(net, shapes).ok()) return 0;
  double atImage = 0;
  for (size_t k = 0; k < net.layers.size(); ++k) {
    const LayerSpec& one = net.layers[k];
    if (one.op != LayerOp::conv || inputIndex(net, one.inputs[0]) != -1) continue;
    atImage += static_cast<double>(shapes[k].h * shapes[k].w * one.kernel * one.kernel * net.channels * one.outChannels);
  }
  return 2 * (3 * static_cast<double>(countMultiplyAdds(net, shapes)) - atImage);
}

ImageData Images::view() const { return {pixels.data(), labels.data(), count, {0.4914f, 0.4822f, 0.4465f}, {0.2023f, 0.1994f, 0.2010f}}; }

Images randomImages(int64_t count) {
  Images images;
  images.count = count;
  Random random(0, Purpose::synthetic, 0);
  for (int64_t i = 0; i < count * kPixelBytes; ++i) images.pixels.push_back(static_cast<uint8_t>(random.next()));
  for (int64_t i = 0; i < count; ++i) images.labels.push_back(static_cast<int32_t>(random.below(10)));
  return images;
}

Images cifar10(const std::string& folder) {
  constexpr int64_t kRecord = 1 + kPixelBytes, kPerFile = 10000, kPlane = kSide * kSide;
  Images images;
  for (const char* name : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"}) {
    const std::string path = folder + "/" + name;
    std::vector<uint8_t> records(static_cast<size_t>(kRecord * kPerFile));
    std::FILE* file = std::fopen(path.c_str(), "rb");
    const size_t read = file ? std::fread(records.data(), 1, records.size(), file) : 0;
    if (file) std::fclose(file);
    if (read != records.size()) {
      throw std::runtime_error(path + ": expected 10,000 records of 3,073 bytes, as in the binary version of CIFAR-10; received " + std::to_string(read) +
                               " bytes.");
    }
    for (int64_t i = 0; i < kPerFile; ++i) {
      const uint8_t* record = records.data() + i * kRecord;
      images.labels.push_back(record[0]);
      for (int64_t at = 0; at < kPlane; ++at) {  // planes of colours to pixels
        for (int64_t c = 0; c < 3; ++c) images.pixels.push_back(record[1 + c * kPlane + at]);
      }
    }
    images.count += kPerFile;
  }
  return images;
}

Row trainRow(const GpuOps& gpu, const NetSpec& net, Precision precision, const TrainSize& size, double peakTflops) {
  Row row{"train", "", {{"models", static_cast<double>(size.models)}, {"batchSize", static_cast<double>(size.batchSize)}}, {}};
  row.texts = {{"net", net.name}, {"precision", precision == Precision::bf16 ? "bf16" : "fp32"}};
  const Images images = randomImages(4 * size.batchSize);
  TrainRequest request;
  request.net = net;
  request.gpu = &gpu;
  request.precision = precision;
  request.data = images.view();
  Status status;
  const double difference = changeDifference(request, size.checkBatch, status);
  row.numbers.push_back({"changeDifference", difference});
  if (!status.ok()) row.problem = failure(status);
  // as in `lethe bench train`: rounding flips some ReLU and max-pool decisions
  else if (!(difference <= (precision == Precision::bf16 ? 0.3 : 5e-2))) row.problem = "three steps change the parameters otherwise than on the CPU";
  if (!row.problem.empty()) return row;

  std::vector<int32_t> rows(static_cast<size_t>(size.steps * size.batchSize));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i % static_cast<size_t>(images.count));
  const std::vector<int32_t> one(rows.begin(), rows.begin() + size.batchSize);
  std::vector<TrainOutcome> outcomes;
  const auto run = [&](const std::vector<int32_t>& indices) {
    request.jobs.clear();
    for (int64_t model = 0; model < size.models; ++model) {
      request.jobs.push_back(job(static_cast<uint64_t>(model), indices, size.batchSize, 1, constantRate(1e-3), nullptr, nullptr));
    }
    return secondsOf([&] { status = trainMany(request, {}, outcomes); });
  };
  run(one);  // kernels are loaded on first use
  std::vector<double> seconds;
  for (int trial = 0; trial < size.trials && status.ok(); ++trial) seconds.push_back(run(rows));
  if (!status.ok()) row.problem = failure(status);
  else addRates(row, outcomes, seconds, net, peakTflops);
  return row;
}

Row wholeRow(const GpuOps& gpu, const NetSpec& net, const Images& images, const WholeSize& size, double peakTflops) {
  constexpr double kLeastAccuracy = 0.7;
  const int64_t models = size.models, epochs = size.epochs, numTest = size.numTest, numTrain = images.count - numTest, numClasses = net.numClasses;
  Row row{"whole", "", {}, {{"net", net.name}}};
  row.numbers = {{"models", static_cast<double>(models)},
                 {"epochs", static_cast<double>(epochs)},
                 {"batchSize", static_cast<double>(size.batchSize)},
                 {"trainImages", static_cast<double>(numTrain / 2)},
                 {"testImages", static_cast<double>(numTest)}};
  TrainRequest request;
  request.net = net;
  request.gpu = &gpu;
  request.precision = Precision::bf16;
  request.data = images.view();
  std::vector<int32_t> test(numTest);
  for (int64_t i = 0; i < numTest; ++i) test[static_cast<size_t>(i)] = static_cast<int32_t>(numTrain + i);
  request.evalPoints = test.data();
  request.numEvalPoints = numTest;
  request.evalEpochs = {epochs};
  Schedule schedule;
  schedule.kind = Schedule::Kind::triangle;
  schedule.learningRate = 0.4;
  schedule.peakEpoch = std::min<double>(5, static_cast<double>(epochs) / 2);
  std::vector<std::vector<int32_t>> subsets(static_cast<size_t>(models));
  std::vector<float> logits(static_cast<size_t>(models * numTest * numClasses));
  for (int64_t model = 0; model < models; ++model) {
    std::vector<int32_t>& subset = subsets[static_cast<size_t>(model)];
    Random random(0, Purpose::subset, static_cast<uint64_t>(model));
    for (int32_t i = 0; i < numTrain; ++i) subset.push_back(i);
    for (int64_t i = 0; i < numTrain / 2; ++i)
      std::swap(subset[static_cast<size_t>(i)], subset[static_cast<size_t>(i + random.below(static_cast<uint32_t>(numTrain - i)))]);
    subset.resize(numTrain / 2);
    request.jobs.push_back(job(static_cast<uint64_t>(model), subset, size.batchSize, epochs, schedule, nullptr, logits.data() + model * numTest * numClasses));
  }
  std::vector<TrainOutcome> outcomes;
  Status status;
  const double seconds = secondsOf([&] { status = trainMany(request, {}, outcomes); });
  if (!status.ok()) {
    row.problem = failure(status);
    return row;
  }
  addRates(row, outcomes, {seconds}, net, peakTflops);
  double right = 0;
  for (int64_t i = 0; i < models * numTest; ++i) {
    const float* of = logits.data() + i * numClasses;
    right += std::max_element(of, of + numClasses) - of == images.labels[static_cast<size_t>(numTrain + i % numTest)];
  }
  const double accuracy = right / static_cast<double>(models * numTest);
  row.numbers.insert(row.numbers.end(), {{"secondsPerModel", seconds / static_cast<double>(models)}, {"accuracy", accuracy}});
  if (!(accuracy >= kLeastAccuracy)) row.problem = "the models have not learned: accuracy below 0.7";
  return row;
}

}  // namespace lethe::bench
