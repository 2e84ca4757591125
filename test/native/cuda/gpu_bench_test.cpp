// The parts of the GPU benchmark at tiny sizes: its problem is that of `lethe bench lasso`, its certificate that of the reference, and
// its checks refuse what is wrong.
#include "bench/bench.h"

#include "base/check.h"
#include "cuda/gpu_table.h"
#include "lethe/base/cuda_report.h"
#include "reference/lasso/reference.h"

using namespace lethe;
using namespace lethe::bench;
using namespace lethe::test;

namespace {

// Values of syntheticProblem(21, 170, 3, 5) of src/bench/problem.ts.
void problem() {
  const LassoProblem made = syntheticProblem(21, 170, 3, 5);
  const uint8_t bits[22] = {76, 13, 78, 180, 237, 130, 41, 103, 229, 32, 177, 119, 225, 219, 159, 40, 224, 130, 214, 60, 5, 1};
  const float outputs[6] = {0.0532086864f, -0.821017504f, -0.00290371920f, 0.492777824f, 0.827071011f, 1.24625504f};
  double squares = 0, largest = 0;
  int64_t sum = 7;
  for (const uint8_t byte : made.bits) sum = (sum * 31 + byte) % 1000003;
  for (const float value : made.outputs) squares += static_cast<double>(value) * value;
  for (int i = 0; i < 6; ++i) largest = std::max(largest, static_cast<double>(std::fabs(made.outputs[static_cast<size_t>(i)] - outputs[i])));
  expect(made.bits.size() == 462 && std::equal(bits, bits + 22, made.bits.begin()) && sum == 377235, "the masks of lethe bench lasso");
  expect(largest < 1e-6 && std::fabs(squares - 77.5767022) < 1e-4, "the outputs of lethe bench lasso");
}

Status fitOnCpu(const MaskView& masks, const TargetView& targets, const FitOptions& options, FitRun& run) {
  std::shared_ptr<const LassoDesign> design;
  const Status status = openDesign(masks, options, targets.numTargets, {}, design);
  return status.ok() ? fitDatamodels(*design, targets, options, {}, run.fits) : status;
}

void lasso() {
  const LassoProblem made = syntheticProblem(90, 45, 5, 0);
  std::vector<TargetFit> kept;
  const Row row = lassoRow(made, 5, 1, 0, [&](const MaskView& masks, const TargetView& targets, const FitOptions& options, FitRun& run) {
    const Status status = fitOnCpu(masks, targets, options, run);
    kept = run.fits;
    return status;
  });
  expect(row.problem.empty() && !kept.empty(), "a fit passes the check. " + row.problem);
  double largest = 0;
  for (size_t target = 0; target < kept.size(); ++target) {
    reference::LassoProblem naive{made.numModels, made.numTrain, {}, {}};
    for (int64_t i = 0; i < made.numModels; ++i) {
      for (int64_t j = 0; j < made.numTrain; ++j) naive.mask.push_back(made.bits[static_cast<size_t>(i * 6 + j / 8)] >> (j % 8) & 1);
      naive.target.push_back(made.outputs[static_cast<size_t>(i * made.numTargets) + target]);
    }
    std::vector<double> weight(static_cast<size_t>(made.numTrain));
    for (size_t k = 0; k < kept[target].indices.size(); ++k) weight[static_cast<size_t>(kept[target].indices[k])] = kept[target].weights[k];
    const double expected = reference::lassoRelativeGap(naive, kept[target].lambda, weight);
    largest = std::max(largest, std::fabs(expected - certifiedGap(made, static_cast<int64_t>(target), kept[target])));
  }
  expect(largest < 1e-12, "the certificate is the reference's");
  const Row wrong = lassoRow(made, 5, 1, 0, [&](const MaskView& masks, const TargetView& targets, const FitOptions& options, FitRun& run) {
    const Status status = fitOnCpu(masks, targets, options, run);
    for (float& weight : run.fits[3].weights) weight *= 1.2f;
    return status;
  });
  expect(!wrong.problem.empty(), "weights that are no solution fail the check");
}

void network() {
  NetDescription full, eighth;
  expect(describeNet(resnet9(1), Isa::portable, Precision::fp32, 1, full).ok() && describeNet(resnet9(8), Isa::portable, Precision::fp32, 1, eighth).ok(),
         "ResNet-9 is a network");
  expect(full.layout.numTrainable == 2274880 && std::fabs(operationsPerImage(resnet9(1)) - 1.745e9) < 1e6, "the paper's ResNet-9");
  expect(std::fabs(operationsPerImage(resnet9(8)) - 0.028e9) < 5e5, "an eighth of its channels");
  bool threw = false;
  try {
    cifar10("no such folder");
  } catch (const std::runtime_error& error) {
    threw = std::string(error.what()).find("data_batch_1.bin") != std::string::npos;
  }
  expect(threw, "a missing file of CIFAR-10 is named");
}

// NaN where there is none.
double numberOf(const Row& row, const std::string& name) {
  for (const auto& [each, number] : row.numbers) {
    if (each == name) return number;
  }
  return std::nan("");
}

void evaluation() {
  for (const Row& row : {klomRow(testGpu(), 9, 70), ranksRow(testGpu(), 11, 40), marginsRow(testGpu(), 2, 33)}) {
    expect(row.problem.empty(), row.name + " is the CPU's. " + row.problem);
  }
  GpuOps broken = testGpu();
  broken.klom = [](const KlomMargins& margins, const KlomOptions&, const GpuOptions&, double* scores, int32_t*, const TaskControl&) {
    std::fill_n(scores, margins.numPoints, 0.5);
    return Status::success();
  };
  expect(klomRow(broken, 9, 70).problem.find("point 0") != std::string::npos, "wrong scores fail the check");
  const Row fit =
      lassoRow(syntheticProblem(60, 33, 3, 0), 3, 2, 1, [](const MaskView& masks, const TargetView& targets, const FitOptions& options, FitRun& run) {
        return fitOnGpu(testGpu(), masks, targets, options, run);
      });
  expect(fit.problem.empty(), "fits on the GPU are certified. " + fit.problem);
  expect(numberOf(fit, "trials") == 2 && numberOf(fit, "shareOfPeak") > 0 && numberOf(fit, "leastSeconds") <= numberOf(fit, "seconds"),
         "their times and share of the peak");
  GpuPeaks peaks;
  const Status status = testGpu().measurePeaks(0, 3, 1 << 16, peaks);
  expect(status.ok() && peaks.bf16Tflops > 0 && peaks.int8Tops > 0 && peaks.memoryGbytes > 0, "peaks, whose sums are exact. " + status.message);
  expect(testGpu().measurePeaks(0, 0, 1, peaks).code == "LETHE_ARGUMENT_INVALID", "no loops are refused");
}

// A backend that is right, and one that is not: the check of training tells them apart. The CPU stands in for the GPU.
void training() {
#ifdef LETHE_EMULATE_CUDA
  GpuOps stand = testGpu();
  TrainBackend backend = cpuBackend(Isa::portable);
  backend.freeBytes = [] { return int64_t{1} << 30; };
  stand.train = &backend;
  const TrainSize size{2, 2, 8, 8};
  const Row row = trainRow(stand, resnet9(16), Precision::fp32, size, 1);
  expect(row.problem.empty(), "training that is right passes. " + row.problem);
  TrainKernels kernels = *backend.fp32;
  kernels.sgdStep = [](int64_t count, float rate, float momentum, float decay, const float* gradient, float* velocity, float* parameter, const int32_t* stop) {
    trainKernels(Isa::portable).sgdStep(count, 1.1f * rate, momentum, decay, gradient, velocity, parameter, stop);
  };
  backend.fp32 = &kernels;
  expect(!trainRow(stand, resnet9(16), Precision::fp32, size, 1).problem.empty(), "steps a tenth too long fail the check");
#endif
}

// Every second image is of one colour, the others of another, with noise: anything that learns tells them apart.
Images twoColours(int64_t count, bool told) {
  Images images = randomImages(count);
  for (int64_t i = 0; i < count; ++i) {
    images.labels[static_cast<size_t>(i)] = static_cast<int32_t>(told ? i % 2 : i / 2 % 2);
    for (int64_t at = 0; at < 1024 && i % 2 == 0; ++at) images.pixels[static_cast<size_t>((i * 1024 + at) * 3)] /= 4;
  }
  return images;
}

void wholeModels() {
  GpuOps gpu = testGpu();
#ifdef LETHE_EMULATE_CUDA  // too slow: the processor stands in for it
  Isa isa;
  expect(resolveIsa("", isa).ok(), "LETHE_ISA is a level of this machine");
  TrainBackend backend = cpuBackend(isa);
  backend.freeBytes = [] { return int64_t{1} << 30; };
  gpu.train = &backend;
#endif
  const WholeSize size{2, 8, 20, 40};
  const Row row = wholeRow(gpu, resnet9(8), twoColours(240, true), size, 1);
  expect(row.problem.empty() && numberOf(row, "accuracy") <= 1 && numberOf(row, "trainImages") == 100, "models that learn pass. " + row.problem);
  const Row none = wholeRow(gpu, resnet9(8), twoColours(240, false), size, 1);
  expect(none.problem.find("accuracy") != std::string::npos, "models that cannot learn fail the check");
  const Row emulated = trainRow(testGpu(), resnet9(32), Precision::bf16, {2, 1, 4, 4, 2}, 1);
  expect(emulated.problem.empty() && numberOf(emulated, "trials") == 2, "training on the GPU is the CPU's. " + emulated.problem);
}

void json() {
  const Row row{"a \"name\"\n", "", {{"x", 0.5}, {"y", HUGE_VAL}}, {{"t", "\\"}}};
  expect(toJson(row) == "{\"name\":\"a \\\"name\\\"\\u000a\",\"t\":\"\\\\\",\"x\":0.5,\"y\":null}", "rows as JSON");
}

}  // namespace

int main() {
  problem();
  lasso();
  network();
  json();
  training();
  if (testGpu().deviceCount() == 0) skip("no GPU");
  else {
    evaluation();
    wholeModels();
  }
  return finish();
}
