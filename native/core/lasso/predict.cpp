// Predictions of datamodels: blocks of targets on worker threads, the masks laid out once the way the kernels read them.
#include "lethe/lasso/predict.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "core/base/isa_table.h"
#include "lethe/base/parallel.h"

namespace lethe {

LETHE_ISA_TABLE(PredictKernels, predictKernels)

namespace {

// Words of 64 examples, (words, numModels): what the dense kernel reads for one word lies together.
std::vector<uint64_t> exampleWords(const MaskView& masks) {
  const int64_t rowBytes = (masks.numTrain + 7) / 8, words = (masks.numTrain + 63) / 64;
  std::vector<uint64_t> result(static_cast<size_t>(words * masks.numModels));
  for (int64_t i = 0; i < masks.numModels; ++i) {
    for (int64_t w = 0; w < words; ++w) {
      uint64_t word = 0;
      std::memcpy(&word, masks.bits + i * rowBytes + 8 * w, static_cast<size_t>(std::min<int64_t>(8, rowBytes - 8 * w)));
      result[static_cast<size_t>(w * masks.numModels + i)] = word;
    }
  }
  return result;
}

// Words of 64 models, (numTrain, words).
std::vector<uint64_t> modelWords(const MaskView& masks) {
  const int64_t rowBytes = (masks.numTrain + 7) / 8, words = (masks.numModels + 63) / 64;
  std::vector<uint64_t> result(static_cast<size_t>(words * masks.numTrain));
  for (int64_t i = 0; i < masks.numModels; ++i) {
    const uint8_t* row = masks.bits + i * rowBytes;
    for (int64_t j = 0; j < masks.numTrain; ++j) {
      const uint64_t seen = (row[j / 8] >> (j % 8)) & 1;
      result[static_cast<size_t>(j * words + i / 64)] |= seen << (i % 64);
    }
  }
  return result;
}

// Neighbouring targets of a model are written together.
constexpr int64_t kBlock = 16;
static_assert(kBlock % kPredictLanes == 0);

class Predictor {
 public:
  Predictor(const MaskView& masks, const DatamodelView& datamodels, const PredictKernels& kernels)
      : masks_(masks), view_(datamodels), kernels_(kernels), words_(datamodels.dense ? exampleWords(masks) : modelWords(masks)) {}

  // predicted: (numModels, numTargets), targets [begin, end) of it are written; end - begin <= kBlock.
  void block(int64_t begin, int64_t end, float* predicted) const {
    if (view_.dense) {
      for (int64_t t = begin; t < end; t += kPredictLanes) dense(t, std::min(t + kPredictLanes, end), predicted);
    } else {
      sparse(begin, end, predicted);
    }
  }

 private:
  void dense(int64_t begin, int64_t end, float* predicted) const {
    const int64_t models = masks_.numModels, train = view_.numTrain;
    std::vector<double> sums(static_cast<size_t>(models * kPredictLanes)), weights(64 * kPredictLanes), tables(kPredictTable);
    for (int64_t i = 0; i < models; ++i) {
      for (int64_t t = begin; t < end; ++t) sums[static_cast<size_t>(i * kPredictLanes + t - begin)] = static_cast<double>(view_.bias[t]);
    }
    for (int64_t from = 0; from < train; from += 64) {
      std::fill(weights.begin(), weights.end(), 0);
      const int64_t to = std::min(from + 64, train);
      for (int64_t t = begin; t < end; ++t) {
        const float* row = view_.dense + t * train;
        for (int64_t j = from; j < to; ++j) weights[static_cast<size_t>((j - from) * kPredictLanes + t - begin)] = static_cast<double>(row[j]);
      }
      kernels_.addWord(words_.data() + from / 64 * models, models, weights.data(), tables.data(), sums.data());
    }
    for (int64_t i = 0; i < models; ++i) {
      for (int64_t t = begin; t < end; ++t) predicted[i * view_.numTargets + t] = static_cast<float>(sums[static_cast<size_t>(i * kPredictLanes + t - begin)]);
    }
  }

  void sparse(int64_t begin, int64_t end, float* predicted) const {
    const int64_t models = masks_.numModels, words = (models + 63) / 64, padded = 64 * words;
    std::vector<double> sums(static_cast<size_t>((end - begin) * padded));
    for (int64_t t = begin; t < end; ++t) {
      double* sum = sums.data() + (t - begin) * padded;
      std::fill(sum, sum + padded, static_cast<double>(view_.bias[t]));
      const int64_t first = static_cast<int64_t>(view_.rowStart[t]), count = static_cast<int64_t>(view_.rowStart[t + 1]) - first;
      kernels_.addColumns(words_.data(), words, count, view_.indices + first, view_.weights + first, sum);
    }
    for (int64_t i = 0; i < models; ++i) {
      for (int64_t t = begin; t < end; ++t) predicted[i * view_.numTargets + t] = static_cast<float>(sums[static_cast<size_t>((t - begin) * padded + i)]);
    }
  }

  MaskView masks_;
  DatamodelView view_;
  const PredictKernels& kernels_;
  std::vector<uint64_t> words_;
};

// Entries come from files of strangers: every one is looked at before it is used as an address.
Status checkEntries(const DatamodelView& view) {
  const auto invalid = [](const std::string& text) { return Status::error("LETHE_ARGUMENT_INVALID", text); };
  double before = 0;
  for (int64_t t = 0; t <= view.numTargets; ++t) {
    const double start = view.rowStart[t];
    if (!(start >= before) || start != static_cast<double>(static_cast<int64_t>(start)) || start > static_cast<double>(view.numEntries)) {
      return invalid("rowStart: expected whole numbers that do not fall and stay at most " + std::to_string(view.numEntries) + "; received " +
                     std::to_string(start) + " at " + std::to_string(t) + ".");
    }
    before = start;
  }
  for (int64_t k = 0; k < static_cast<int64_t>(before); ++k) {
    if (view.indices[k] < 0 || view.indices[k] >= view.numTrain) {
      return invalid("indices: expected train examples below " + std::to_string(view.numTrain) + "; received " + std::to_string(view.indices[k]) +
                     " at entry " + std::to_string(k) + ".");
    }
  }
  return Status::success();
}

}  // namespace

Status predict(const MaskView& masks, const DatamodelView& datamodels, Isa isa, int threads, float* predicted, const TaskControl& control) {
  if (masks.numTrain != datamodels.numTrain) {
    return Status::error("LETHE_ARGUMENT_INVALID", "masks: expected " + std::to_string(datamodels.numTrain) +
                                                       " train examples, as the datamodels have; received " + std::to_string(masks.numTrain) + ".");
  }
  if (!datamodels.dense) {
    const Status status = checkEntries(datamodels);
    if (!status.ok()) return status;
  }
  const Predictor predictor(masks, datamodels, predictKernels(isa));
  const int64_t targets = datamodels.numTargets;
  std::atomic<int64_t> done{0};
  parallelFor((targets + kBlock - 1) / kBlock, threads, [&](int64_t index, int) {
    if (control.aborted()) return;
    const int64_t begin = index * kBlock, end = std::min(begin + kBlock, targets);
    predictor.block(begin, end, predicted);
    control.report(static_cast<double>(done += end - begin), static_cast<double>(targets));
  });
  if (control.aborted()) return Status::error("LETHE_TASK_ABORTED", "stopped on request before all targets were predicted.");
  return Status::success();
}

}  // namespace lethe
