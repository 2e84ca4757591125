// Margins and predicted classes of logits on the GPU: a thread each row of classes. Contract: lethe/evaluate.h.
#include <cmath>
#include <limits>

#include "cuda/base/over_devices.h"
#include "lethe/evaluate/evaluate.h"

namespace lethe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int kThreads = 256;
constexpr int64_t kMostRows = int64_t{1} << 26;  // of a block: progress and abort come in time

struct Task {
  const float* logits;    // (rows, classes)
  const int32_t* labels;  // (points)
  int64_t first, rows, points, classes;  // row r belongs to point (first + r) % points
  float* margins;         // (rows)
  uint8_t* predicted;     // (rows)
};

__global__ void __launch_bounds__(kThreads) marginRows(Task task) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= task.rows) return;
  const float* logits = task.logits + row * task.classes;
  const int32_t label = task.labels[(task.first + row) % task.points];
  float best = logits[0], bestOther = -kInfinity;
  bool undefined = false;
  int64_t bestClass = 0;
  for (int64_t c = 0; c < task.classes; ++c) {
    const float value = logits[c];
    undefined |= value != value;
    if (value > best) best = value, bestClass = c;
    if (c != label && value > bestOther) bestOther = value;
  }
  double sum = 0;
  for (int64_t c = 0; c < task.classes; ++c) {
    if (c != label) sum += std::exp(static_cast<double>(logits[c]) - bestOther);
  }
  const float margin = static_cast<float>(static_cast<double>(logits[label]) - (bestOther + std::log(sum)));
  task.margins[row] = undefined ? kNaN : margin;
  task.predicted[row] = undefined ? uint8_t{255} : static_cast<uint8_t>(bestClass);
}

}  // namespace

Status LETHE_PER_ISA(marginsFromLogitsOnGpu)(const float* logits, const int32_t* labels, int64_t models, int64_t points, int64_t classes, const GpuOptions& gpu,
                                             float* margins, uint8_t* predicted, const TaskControl& control) {
  const Status checked = checkLabels(labels, points, classes);
  if (!checked.ok()) return checked;
  return overDevices(gpu, models * points, control, [&](int64_t begin, int64_t end, const auto& done) {
    const int64_t block = itemsThatFit(end - begin, kThreads, kMostRows, points * 4, classes * 4 + 5, memoryOf(gpu));
    const DeviceMemory input(block * classes * 4), classOf(points * 4), output(block * 4), guesses(block);
    upload(classOf.data(), labels, points * 4);
    Task task{static_cast<const float*>(input.data()), static_cast<const int32_t*>(classOf.data()), 0, 0, points, classes,
              static_cast<float*>(output.data()),      static_cast<uint8_t*>(guesses.data())};
    for (task.first = begin; task.first < end; task.first += block) {
      task.rows = std::min(block, end - task.first);
      upload(input.data(), logits + task.first * classes, task.rows * classes * 4);
      launch(dim3(static_cast<unsigned>((task.rows + kThreads - 1) / kThreads)), dim3(kThreads), 0, marginRows, task);
      download(margins + task.first, output.data(), task.rows * 4);
      download(predicted + task.first, guesses.data(), task.rows);
      if (!done(task.rows)) return;
    }
  });
}

}  // namespace lethe
