// lethe_gpu_bench: what one GPU does on the ops of Lethe. Checks every op before it is timed. One JSON document to stdout, talk to stderr.
// Exit codes: 0; 1 a check failed; 2 usage; 4 no GPU.
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "bench/bench.h"
#include "lethe/base/cuda_report.h"
#include "lethe/base/parallel.h"
#include "lethe/bench/peaks.h"

using namespace lethe;
using namespace lethe::bench;

namespace {

constexpr const char* kUsage =
    "usage: lethe_gpu_bench [--suites evaluate,lasso,train] [--whole] [--data FOLDER]\n"
    "  --suites  what to measure; peaks always are, shares need them\n"
    "  --whole   all 60,000 targets of the paper's scale instead of 2,048\n"
    "  --data    folder with the binary files of CIFAR-10: trains whole models and reports their accuracy\n";

struct Options {
  std::string suites = "evaluate,lasso,train", data;
  bool whole = false;
  bool has(const char* suite) const { return ("," + suites + ",").find(std::string(",") + suite + ",") != std::string::npos; }
};

bool parse(int count, char** arguments, Options& options) {
  for (int i = 1; i < count; ++i) {
    const bool last = i + 1 == count;
    if (std::strcmp(arguments[i], "--suites") == 0 && !last) options.suites = arguments[++i];
    else if (std::strcmp(arguments[i], "--data") == 0 && !last) options.data = arguments[++i];
    else if (std::strcmp(arguments[i], "--whole") == 0) options.whole = true;
    else return false;
  }
  std::string rest = options.suites + ",";
  for (const char* known : {"evaluate,", "lasso,", "train,"}) {
    for (size_t at = rest.find(known); at != std::string::npos; at = rest.find(known)) rest.erase(at, std::strlen(known));
  }
  return rest.empty();
}

// Prints a row when it is there, so that an interrupted run has told what it knows.
void add(std::vector<Row>& rows, Row row) {
  std::fprintf(stderr, "%s\n", toJson(row).c_str());
  rows.push_back(std::move(row));
}

void evaluation(const GpuOps& gpu, std::vector<Row>& rows) {
  add(rows, klomRow(gpu, 100, 60000));
  add(rows, ranksRow(gpu, 1000, 20000));
  add(rows, marginsRow(gpu, 50, 60000));
}

void lasso(const GpuOps& gpu, const Options& options, double peak, std::vector<Row>& rows) {
  const int64_t sizes[][3] = {{1000, 2000, 512}, {4000, 10000, 512}, {8000, 20000, 4000}, {20000, 50000, options.whole ? 60000 : 2048}};
  for (const auto& [models, train, targets] : sizes) {
    std::fprintf(stderr, "lasso: making the problem of %ld models, %ld examples, %ld targets\n", static_cast<long>(models), static_cast<long>(train),
                 static_cast<long>(targets));
    add(rows, lassoRow(syntheticProblem(models, train, targets, 0), 16, models < 20000 ? 3 : 1, peak,
                       [&](const MaskView& masks, const TargetView& of, const FitOptions& fitOptions, FitRun& run) {
                         return fitOnGpu(gpu, masks, of, fitOptions, run);
                       }));
  }
}

void training(const GpuOps& gpu, const Options& options, double peak, std::vector<Row>& rows) {
  const std::pair<int64_t, TrainSize> sizes[] = {{1, {32, 20, 512, 32, 3}}, {4, {64, 40, 512, 64, 3}}, {8, {128, 80, 512, 64, 3}}};
  add(rows, trainRow(gpu, resnet9(4), Precision::fp32, {8, 5, 512, 64, 3}, 0));
  for (const auto& [width, size] : sizes) add(rows, trainRow(gpu, resnet9(width), Precision::bf16, size, peak));
  if (options.data.empty()) return;
  const Images images = cifar10(options.data);
  for (const int64_t width : {8, 4, 1}) add(rows, wholeRow(gpu, resnet9(width), images, {width == 1 ? 16 : 32, 24, 512, 10000}, peak));
}

std::string machineJson(const CudaReport& report, const GpuPeaks& peaks) {
  const CudaDevice& device = report.devices.front();
  Row machine{
      device.name,
      "",
      {},
      {{"computeCapability", std::to_string(device.major) + "." + std::to_string(device.minor)}, {"toolkit", report.toolkit}, {"compiler", compilerName()}}};
  machine.numbers = {{"gpus", static_cast<double>(report.devices.size())},
                     {"multiprocessors", static_cast<double>(device.multiprocessors)},
                     {"memoryBytes", static_cast<double>(device.totalBytes)},
                     {"cores", static_cast<double>(allowedThreads())},
                     {"bf16Tflops", peaks.bf16Tflops},
                     {"int8Tops", peaks.int8Tops},
                     {"memoryGbytes", peaks.memoryGbytes}};
  return toJson(machine);
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  if (!parse(count, arguments, options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  const CudaReport report = cudaReport();
  const GpuOps* gpu = gpuOps();
  if (!gpu || report.devices.empty()) {
    std::fprintf(stderr, "error LETHE_GPU_UNAVAILABLE: expected an NVIDIA GPU with a working driver; received: %s. nvidia-smi tells more.\n",
                 report.problem.c_str());
    return 4;
  }
  std::vector<Row> rows;
  GpuPeaks peaks;
  try {
    std::fprintf(stderr, "%s: measuring peaks\n", report.devices.front().name.c_str());
    const Status status = gpu->measurePeaks(0, 1 << 16, int64_t{1} << 30, peaks);
    if (!status.ok()) rows.push_back({"peaks", status.code + ": " + status.message, {}, {}});
    if (options.has("evaluate")) evaluation(*gpu, rows);
    if (options.has("lasso")) lasso(*gpu, options, peaks.int8Tops, rows);
    if (options.has("train")) training(*gpu, options, peaks.bf16Tflops, rows);
  } catch (const std::exception& error) {
    rows.push_back({"stopped", error.what(), {}, {}});
  }
  bool failed = false;
  std::printf("{\"document\":\"lethe.bench-gpu\",\"version\":1,\"machine\":%s,\"results\":[", machineJson(report, peaks).c_str());
  for (size_t k = 0; k < rows.size(); ++k) {
    std::printf("%s\n%s", k == 0 ? "" : ",", toJson(rows[k]).c_str());
    if (rows[k].problem.empty()) continue;
    failed = true;
    std::fprintf(stderr, "FAILED %s: %s\n", rows[k].name.c_str(), rows[k].problem.c_str());
  }
  std::printf("]}\n");
  return failed ? 1 : 0;
}
