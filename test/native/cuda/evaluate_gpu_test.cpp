// KLOM, margins and rank correlation on the GPU against the CPU and the naive reference: odd sizes, ties on bin edges, extreme and
// non-finite values, several devices, blocks under a memory limit, failing launches, abort.
#include <algorithm>
#include <functional>
#include <limits>
#include <random>

#include "base/check.h"
#include "cuda/gpu_table.h"
#include "reference/evaluate/reference.h"
#ifdef LETHE_EMULATE_CUDA
#include "cuda/base/compiler.h"
#endif

using namespace lethe;
using namespace lethe::test;

namespace {

const GpuOps& ops() { return testGpu(); }

const float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();
const KlomVariant kVariants[] = {KlomVariant::standard, KlomVariant::paperFixed, KlomVariant::researchCode, KlomVariant::easydub};

using Values = std::vector<float>;
using Draw = float (*)(std::mt19937&, bool second);

float gaussian(std::mt19937& random, bool second) { return std::normal_distribution<float>(second ? 1.f : 3.f, 2.f)(random); }
// Small integers: with 20 bins most values lie on an edge, and points may be constant.
float integer(std::mt19937& random, bool) { return static_cast<float>(static_cast<int>(random() % 5)) - 2.f; }
// 26 bins from -4 to 6: edge 13 is rounded to 1, though 5 times the bins a unit is less than 13.
float quarters(std::mt19937& random, bool) { return 0.25f * static_cast<float>(random() % 41) - 4.f; }
float extreme(std::mt19937& random, bool) {
  const float choices[] = {-1e30f, -100.f, -99.9999f, 0.f, -0.f, 1e-38f, 1e-45f, 100.f, 101.f, 3e38f};
  return choices[random() % 10];
}
float broken(std::mt19937& random, bool second) {
  const uint32_t draw = random() % 40;
  return draw == 0 ? kNaN : draw == 1 ? kInf : draw == 2 ? -kInf : gaussian(random, second);
}
float narrow(std::mt19937& random, bool) { return 90.f + 1e-4f * static_cast<float>(random() % 1000); }
float never(std::mt19937&, bool second) { return second ? kNaN : 1.f; }

Guarded<float> drawn(int64_t count, Draw draw, bool second, uint32_t seed) {
  std::mt19937 random(seed + second);
  Guarded<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = draw(random, second);
  return values;
}

template <typename T>
bool sameBytes(Guarded<T>& a, Guarded<T>& b) {
  return std::memcmp(a.data(), b.data(), static_cast<size_t>(a.size()) * sizeof(T)) == 0;
}

bool close(double a, double b, double tolerance) { return (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= tolerance; }

// Runs a call that fills its outputs once more with threads and blocks in the other order, and with two devices: equal bytes.
template <typename First, typename Second>
void expectSameInAnyOrder(const std::string& what, Guarded<First>& first, Guarded<Second>& second,
                          const std::function<Status(First*, Second*, const GpuOptions&)>& call) {
#ifdef LETHE_EMULATE_CUDA
  for (int devices : {1, 2}) {
    for (bool backwards : {false, true}) {
      emulator::setThreadOrder(backwards);
      emulator::setDeviceCount(devices);
      Guarded<First> otherFirst(first.size());
      Guarded<Second> otherSecond(second.size());
      const Status status = call(otherFirst.data(), otherSecond.data(), {});
      expect(status.ok() && sameBytes(first, otherFirst) && sameBytes(second, otherSecond),
             what + ": the same on " + std::to_string(devices) + " devices, backwards " + std::to_string(backwards));
    }
  }
  emulator::setThreadOrder(false);
  emulator::setDeviceCount(1);
#else
  static_cast<void>(what), static_cast<void>(first), static_cast<void>(second), static_cast<void>(call);
#endif
}

reference::Sample column(Guarded<float>& matrix, int64_t models, int64_t points, int64_t point) {
  reference::Sample sample;
  for (int64_t m = 0; m < models; ++m) sample.push_back(matrix[m * points + point]);
  return sample;
}

struct KlomCase {
  const char* name;
  int64_t oracles, unlearned, points, bins;
  Draw draw;
};
const KlomCase kKlomCases[] = {{"gaussian", 100, 90, 67, 20, gaussian},
                               {"one model a side", 1, 1, 33, 20, gaussian},
                               {"one point", 7, 3, 1, 20, gaussian},
                               {"two bins", 40, 41, 32, 2, gaussian},
                               {"bins of several sweeps", 50, 40, 40, 300, gaussian},
                               {"integers on edges", 20, 21, 95, 20, integer},
                               {"quotients below an edge", 40, 40, 64, 26, quarters},
                               {"extreme values", 9, 8, 129, 20, extreme},
                               {"non-finite values", 30, 30, 70, 20, broken},
                               {"narrow range far from zero", 60, 60, 31, 20, narrow},
                               {"a side without finite values", 3, 3, 5, 20, never},
                               {"no points", 5, 5, 0, 20, gaussian}};

void klomCase(const KlomCase& c, KlomVariant variant) {
  Guarded<float> oracle = drawn(c.oracles * c.points, c.draw, false, 7), unlearned = drawn(c.unlearned * c.points, c.draw, true, 7);
  KlomOptions options;
  options.variant = variant;
  options.bins = c.bins;
  options.threads = 1;
  const KlomMargins margins{oracle.data(), unlearned.data(), c.oracles, c.unlearned, c.points};
  Guarded<double> onCpu(c.points), scores(c.points);
  Guarded<int32_t> badOnCpu(c.points), bad(c.points);
  const Status cpu = klom(margins, options, onCpu.data(), badOnCpu.data(), {});
  const Status gpu = ops().klom(margins, options, {}, scores.data(), bad.data(), {});
  const std::string what = std::string("klom ") + c.name + ", variant " + std::to_string(static_cast<int>(variant));
  int64_t wrong = 0;
  for (int64_t p = 0; p < c.points; ++p) {
    const double expected = reference::klom(options, column(oracle, c.oracles, c.points, p), column(unlearned, c.unlearned, c.points, p));
    wrong += !close(scores[p], onCpu[p], 1e-12) || !close(scores[p], expected, 1e-11);
  }
  expect(cpu.ok() && gpu.ok() && wrong == 0, what + ": " + std::to_string(wrong) + " scores differ. " + gpu.message);
  expect(sameBytes(bad, badOnCpu), what + ": the number of non-finite margins");
  expect(scores.guardsIntact() && bad.guardsIntact() && oracle.guardsIntact() && unlearned.guardsIntact(), what + ": guard words");
  expectSameInAnyOrder<double, int32_t>(
      what, scores, bad, [&](double* s, int32_t* b, const GpuOptions& gpuOptions) { return ops().klom(margins, options, gpuOptions, s, b, {}); });
}

struct RankCase {
  const char* name;
  int64_t models, points, stride;
  Draw draw;
  double tolerance;
};
const RankCase kRankCases[] = {{"gaussian", 37, 65, 70, gaussian, 1e-12},
                               {"ties and constants", 3, 70, 70, integer, 1e-12},
                               {"one model", 1, 5, 5, gaussian, 1e-12},
                               {"power of two", 64, 3, 3, gaussian, 1e-12},
                               {"extremes, both zeros", 150, 9, 11, extreme, 1e-12},
                               {"non-finite values", 6, 90, 90, broken, 1e-12},
                               {"beyond shared memory", 8193, 1, 2, integer, 1e-12},
                               {"no points", 5, 0, 0, gaussian, 1e-12},
                               {"no models", 0, 3, 3, gaussian, 1e-12}};

void rankCase(const RankCase& c) {
  Guarded<float> predicted = drawn(c.models * c.stride, c.draw, false, 3), actual = drawn(c.models * c.stride, c.draw, true, 3);
  if (c.draw == gaussian) {
    for (int64_t i = 0; i < actual.size(); ++i) actual[i] += predicted[i];
  }
  Guarded<double> onCpu(c.points), correlation(c.points);
  int64_t constant[2] = {-1, -1}, bad[2] = {-1, -1};
  const Status cpu = spearman(predicted.data(), actual.data(), c.models, c.points, c.stride, 1, onCpu.data(), constant[0], bad[0], {});
  const Status gpu = ops().spearman(predicted.data(), actual.data(), c.models, c.points, c.stride, {}, correlation.data(), constant[1], bad[1], {});
  const std::string what = std::string("spearman ") + c.name;
  int64_t wrong = 0, defined = 0;
  for (int64_t p = 0; p < c.points; ++p) {
    wrong += !close(correlation[p], onCpu[p], c.tolerance);
    if (std::isnan(onCpu[p])) continue;
    ++defined;
    const auto sample = [&](Guarded<float>& side) { return column(side, c.models, c.stride, p); };
    if (c.models < 1000) wrong += !close(correlation[p], reference::spearman(sample(predicted), sample(actual)), 1e-12);
  }
  expect(cpu.ok() && gpu.ok() && wrong == 0, what + ": " + std::to_string(wrong) + " of " + std::to_string(defined) + " differ. " + gpu.message);
  expect(constant[0] == constant[1] && bad[0] == bad[1], what + ": constant and non-finite points");
  expect(correlation.guardsIntact(), what + ": guard words");
  Guarded<int64_t> counts(2);
  counts[0] = constant[0], counts[1] = bad[0];
  expectSameInAnyOrder<double, int64_t>(what, correlation, counts, [&](double* values, int64_t* found, const GpuOptions& gpuOptions) {
    return ops().spearman(predicted.data(), actual.data(), c.models, c.points, c.stride, gpuOptions, values, found[0], found[1], {});
  });
}

void marginsCase(int64_t models, int64_t points, int64_t classes) {
  Guarded<float> logits = drawn(models * points * classes, gaussian, false, 11), onCpu(models * points), margins(models * points);
  Guarded<int32_t> labels(points);
  Guarded<uint8_t> guessOnCpu(models * points), guess(models * points);
  for (int64_t p = 0; p < points; ++p) labels[p] = static_cast<int32_t>(p * 7 % classes);
  if (points > 6) {
    logits[5 * classes] = kNaN;
    logits[6 * classes] = 3e4f;  // overflows exp without the shift
    logits[4 * classes] = kInf;
    logits[3 * classes] = logits[3 * classes + 1] = 50.f;  // the first of equals is predicted
  }
  const Status cpu = marginsFromLogits(logits.data(), labels.data(), models, points, classes, 1, onCpu.data(), guessOnCpu.data(), {});
  const Status gpu = ops().marginsFromLogits(logits.data(), labels.data(), models, points, classes, {}, margins.data(), guess.data(), {});
  const std::string what = "margins of " + std::to_string(models) + " x " + std::to_string(points) + " x " + std::to_string(classes);
  int64_t wrong = 0;
  for (int64_t i = 0; i < margins.size(); ++i) {
    // double exp and log of another library: at most the last bit of the float
    wrong += !(margins[i] == onCpu[i] || (std::isnan(margins[i]) && std::isnan(onCpu[i])) || std::nextafterf(margins[i], onCpu[i]) == onCpu[i]);
  }
  expect(cpu.ok() && gpu.ok() && wrong == 0, what + ": " + std::to_string(wrong) + " differ. " + gpu.message);
  expect(sameBytes(guess, guessOnCpu) && margins.guardsIntact() && guess.guardsIntact(), what + ": predictions and guard words");
  expectSameInAnyOrder<float, uint8_t>(what, margins, guess, [&](float* m, uint8_t* g, const GpuOptions& gpuOptions) {
    return ops().marginsFromLogits(logits.data(), labels.data(), models, points, classes, gpuOptions, m, g, {});
  });
}

void errors() {
  const float one[] = {1, 2}, two[] = {3, 4};
  double score[2];
  int32_t bad[2];
  KlomOptions options;
  const KlomMargins margins{one, two, 1, 1, 2};
  expect(ops().klom(margins, options, {{0, 0}, 0}, score, bad, {}).code == "LETHE_GPU_UNAVAILABLE", "one device twice is refused");
  expect(ops().klom(margins, options, {{99}, 0}, score, bad, {}).code == "LETHE_GPU_UNAVAILABLE", "an unknown device is refused");
  expect(ops().klom(margins, options, {{}, 20}, score, bad, {}).code == "LETHE_GPU_MEMORY_EXHAUSTED", "a limit below one block is refused");
  int64_t counts[2];
  expect(ops().spearman(one, two, 1, 2, 2, {{}, 20}, score, counts[0], counts[1], {}).code == "LETHE_GPU_MEMORY_EXHAUSTED", "and by ranks");
  expect(ops().spearman(one, two, int64_t{1} << 21, 2, 2, {}, score, counts[0], counts[1], {}).code == "LETHE_MODELS_TOO_MANY", "too many models to rank");
  options.bins = 1;
  expect(ops().klom(margins, options, {}, score, bad, {}).code == "LETHE_BINS_INVALID", "one bin is refused");
  options.bins = 20;
  const int32_t labels[] = {0, 2};
  float margin[1];
  uint8_t guess[1];
  expect(ops().marginsFromLogits(one, labels, 1, 1, 1, {}, margin, guess, {}).code == "LETHE_CLASSES_INVALID", "one class is refused");
  expect(ops().marginsFromLogits(one, labels + 1, 1, 1, 2, {}, margin, guess, {}).code == "LETHE_LABEL_INVALID", "a label out of range is refused");
  std::atomic<int32_t> flag{1};
  TaskControl control;
  control.abortFlag = &flag;
  expect(ops().klom(margins, options, {}, score, bad, control).code == "LETHE_TASK_ABORTED", "abort is seen");
}

// Blocks of points under a limit: the same scores, the limit kept, progress to the end, abort in between.
void blocks() {
  const int64_t models = 20, points = 333;
  Guarded<float> a = drawn(models * points, gaussian, false, 5), b = drawn(models * points, gaussian, true, 5);
  const KlomMargins margins{a.data(), b.data(), models, models, points};
  Guarded<double> whole(points), parts(points), correlation(points), inParts(points);
  Guarded<int32_t> bad(points);
  int64_t counts[2];
  const int64_t limit = 16 << 10;
  std::vector<double> progress;
  TaskControl control;
  control.onProgress = [&](double done, double total) { progress.push_back(done / total); };
  ops().klom(margins, {}, {}, whole.data(), bad.data(), {});
  ops().spearman(a.data(), b.data(), models, points, points, {}, correlation.data(), counts[0], counts[1], {});
#ifdef LETHE_EMULATE_CUDA
  emulator::setMemoryLimit(emulator::allocatedBytes() + limit);
#endif
  const Status klomStatus = ops().klom(margins, {}, {{}, limit}, parts.data(), bad.data(), control);
  const Status rankStatus = ops().spearman(a.data(), b.data(), models, points, points, {{}, limit}, inParts.data(), counts[0], counts[1], {});
#ifdef LETHE_EMULATE_CUDA
  emulator::setMemoryLimit(INT64_MAX);
  expect(emulator::allocatedBytes() == 0, "all device memory is given back");
#endif
  expect(klomStatus.ok() && sameBytes(whole, parts), "KLOM in blocks is KLOM in one. " + klomStatus.message);
  expect(rankStatus.ok() && sameBytes(correlation, inParts), "ranks in blocks are ranks in one. " + rankStatus.message);
  expect(progress.size() > 3 && progress.back() == 1 && std::is_sorted(progress.begin(), progress.end()), "progress of blocks");
  std::atomic<int32_t> flag{0};
  control.abortFlag = &flag;
  control.onProgress = [&](double, double) { flag = 1; };
  expect(ops().klom(margins, {}, {{}, limit}, parts.data(), bad.data(), control).code == "LETHE_TASK_ABORTED", "abort between blocks");
#ifdef LETHE_EMULATE_CUDA
  for (int64_t launchNumber : {0, 2}) {
    emulator::failAtLaunch(launchNumber);
    const Status failed = ops().klom(margins, {}, {{}, limit}, parts.data(), bad.data(), {});
    emulator::failAtLaunch(-1);
    expect(failed.code == "LETHE_GPU_FAILED" && emulator::allocatedBytes() == 0, "a failing launch is an error, and leaves no memory behind");
  }
  emulator::setDeviceCount(0);
  const Status none = ops().klom(margins, {}, {}, parts.data(), bad.data(), {});
  emulator::setDeviceCount(1);
  expect(none.code == "LETHE_GPU_UNAVAILABLE" && none.message.find("--device cpu") != std::string::npos, "no device: the message says what to do");
#endif
}

}  // namespace

int main() {
  if (ops().deviceCount() == 0) {
    skip("no GPU");
    return finish();
  }
  for (const KlomCase& c : kKlomCases) {
    for (KlomVariant variant : kVariants) klomCase(c, variant);
  }
  for (const RankCase& c : kRankCases) rankCase(c);
  marginsCase(3, 41, 10);
  marginsCase(1, 1, 2);
  marginsCase(2, 7, 255);
  marginsCase(0, 3, 5);
  errors();
  blocks();
  return finish();
}
