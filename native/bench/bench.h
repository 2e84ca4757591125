// The GPU benchmark without its command line: every part checks its op, then times it. Parts take the table of ops, so that a test runs
// them at tiny sizes on the emulated GPU.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "lethe/gpu_ops.h"
#include "lethe/lasso/fit.h"
#include "lethe/train/train.h"

namespace lethe::bench {

using Say = std::function<void(const std::string& line)>;

// One measured row: its name, numbers and texts in order, and what was wrong (empty: the check passed and the times count).
struct Row {
  std::string name, problem;
  std::vector<std::pair<std::string, double>> numbers;
  std::vector<std::pair<std::string, std::string>> texts;
};

double secondsOf(const std::function<void()>& work);  // wall time
// The median as "seconds", with the least, the most and how many; returns the median.
double addTimes(Row& row, std::vector<double> seconds);
std::string toJson(const Row& row);
std::string quoted(const std::string& text);  // as a JSON string

// ---------------------------------------------------------------- datamodels

// The problem of `lethe bench lasso` (src/bench/problem.ts), the same bits and, but for the last digit of a logarithm, the same outputs.
struct LassoProblem {
  int64_t numModels = 0, numTrain = 0, numTargets = 0;
  std::vector<uint8_t> bits;   // (numModels, ceil(numTrain / 8))
  std::vector<float> outputs;  // (numModels, numTargets)
};
LassoProblem syntheticProblem(int64_t numModels, int64_t numTrain, int64_t numTargets, uint64_t seed);

// Relative duality gap of one target's fit on all models, in double from the float weights: the definition of native/reference, by bits.
double certifiedGap(const LassoProblem& problem, int64_t target, const TargetFit& fit);

struct FitRun {
  std::vector<TargetFit> fits;
  double openSeconds = 0, fitSeconds = 0;  // the design's, which later fits of it do not need; the targets'
  double operations = 0;                   // GpuFit::numOperations()
};
using Fit = std::function<Status(const MaskView&, const TargetView&, const FitOptions&, FitRun&)>;
Status fitOnGpu(const GpuOps& gpu, const MaskView& masks, const TargetView& targets, const FitOptions& options, FitRun& run);
// Path of 100 lambdas, chosen on a tenth of the models, refit on all; checkedTargets of them, evenly spread, are certified. Timed `trials` times with the
// design. int8Tops: the measured rate of matrix products, 0: unknown.
Row lassoRow(const LassoProblem& problem, int64_t checkedTargets, int trials, double int8Tops, const Fit& fit);

// ---------------------------------------------------------------- training

// The network of src/models/resnet9.ts on 32 x 32 images of three channels.
NetSpec resnet9(int64_t width);
// Operations of one training image: 2 (3 F - I), F multiply-adds forward, I of them in the layer that reads the image.
double operationsPerImage(const NetSpec& net);

struct Images {
  std::vector<uint8_t> pixels;  // (count, 32, 32, 3)
  std::vector<int32_t> labels;
  int64_t count = 0;
  ImageData view() const;  // with CIFAR-10's normalisation
};
Images randomImages(int64_t count);
// The binary files of CIFAR-10 in a folder: 50,000 train and 10,000 test images. Throws std::runtime_error with the file that is missing.
Images cifar10(const std::string& folder);

struct TrainSize {
  int64_t models = 1, steps = 1, batchSize = 1, checkBatch = 1;
  int trials = 1;
};
// Steps of SGD of many models at once, timed so many times; checked against the CPU in fp32 by what three steps change in the parameters of one model.
Row trainRow(const GpuOps& gpu, const NetSpec& net, Precision precision, const TrainSize& size, double peakTflops);
struct WholeSize {
  int64_t models = 1, epochs = 24, batchSize = 512;
  int64_t numTest = 10000;  // the last of the images
};
// Whole models: the paper's recipe on half of the train images, accuracy on the test images. Fails below 0.7.
Row wholeRow(const GpuOps& gpu, const NetSpec& net, const Images& images, const WholeSize& size, double peakTflops);

// ---------------------------------------------------------------- evaluation

// Against the CPU, every point; host memory to host memory, transfers included.
Row klomRow(const GpuOps& gpu, int64_t models, int64_t points);
Row ranksRow(const GpuOps& gpu, int64_t models, int64_t points);
Row marginsRow(const GpuOps& gpu, int64_t models, int64_t points);

}  // namespace lethe::bench
