// What datamodels predict for models trained on given masks: bias + sum of the weights of the examples in the mask.
#pragma once
#include <cstdint>
#include <string>

#include "lethe/base/isa.h"
#include "lethe/base/status.h"
#include "lethe/base/task.h"
#include "lethe/lasso/fit.h"

namespace lethe {

// Linear models of numTargets targets over numTrain examples: dense, or sparse in compressed rows.
struct DatamodelView {
  int64_t numTargets = 0, numTrain = 0;
  const float* bias = nullptr;      // (numTargets)
  const float* dense = nullptr;     // (numTargets, numTrain); null: the sparse fields hold
  const double* rowStart = nullptr;  // (numTargets + 1) whole numbers: target t has entries [rowStart[t], rowStart[t + 1])
  const int32_t* indices = nullptr;  // (numEntries)
  const float* weights = nullptr;    // (numEntries)
  int64_t numEntries = 0;
};

// predicted: (masks.numModels, numTargets). Sums are taken in double and rounded once. Their order is fixed: sparse, entry by entry;
// dense, four examples at a time. A target's predictions depend on its own weights only: equal on every instruction set, for any
// threads and neighbours. A NaN bias, or a non-finite weight of an example in the mask, makes the prediction non-finite.
// Errors: LETHE_ARGUMENT_INVALID (an entry outside the training set, rows out of order), LETHE_TASK_ABORTED. Progress is in targets.
Status predict(const MaskView& masks, const DatamodelView& datamodels, Isa isa, int threads, float* predicted, const TaskControl& control);

// ---------------------------------------------------------------- kernels

constexpr int64_t kPredictLanes = 8;                            // targets that pass together through the dense kernel
constexpr int64_t kPredictTable = 16 * 16 * kPredictLanes;      // doubles of the tables of 64 examples: 16 KB, the first-level cache

// Kernels run on the calling thread, allocate nothing and check nothing.
struct PredictKernels {
  // sums[i * kPredictLanes + l] += the sum over the bits b of words[i] of weights[b * kPredictLanes + l], for models i < count.
  // weights: (64, kPredictLanes). tables: (kPredictTable) scratch.
  void (*addWord)(const uint64_t* words, int64_t count, const double* weights, double* tables, double* sums);

  // sums[i] += the sum over k < count of weight[k] where bit i of column[k] is set, for models i < 64 * words.
  // columns: (numTrain, words), bit i of a column: model i saw the example.
  void (*addColumns)(const uint64_t* columns, int64_t words, int64_t count, const int32_t* column, const float* weight, double* sums);
};

// Kernels of one instruction set; the level must be available (resolveIsa).
const PredictKernels& predictKernels(Isa isa);

}  // namespace lethe
