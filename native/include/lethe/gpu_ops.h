// The GPU backend: the ops that run on NVIDIA GPUs, under the contracts of their CPU twins. Nothing here needs a driver to link or load.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "lethe/base/gpu_options.h"
#include "lethe/evaluate/evaluate.h"
#include "lethe/lasso/fit.h"

namespace lethe {

struct TrainBackend;

constexpr int kModelsPerGpu = 16;  // trained at once unless told otherwise: enough streams that small layers of one model leave no gaps

// Measured limits of a GPU.
struct GpuPeaks {
  double bf16Tflops = 0;    // matrix instructions between registers, fp32 sums
  double int8Tops = 0;      // the same of int8, int32 sums
  double memoryGbytes = 0;  // of a copy within the GPU's memory: bytes read plus bytes written
};

// A design in the memory of GPUs.
class GpuFit {
 public:
  virtual ~GpuFit() = default;
  // fitDatamodels() of lasso.h, to the same gap. One fit runs at a time; others wait.
  virtual Status fit(const TargetView& targets, const TaskControl& control, std::vector<TargetFit>& fits) = 0;
  // Of the int8 products that correlate residuals with the columns, in all fits so far: 2 a multiply-add.
  virtual double numOperations() const = 0;
  virtual bool hasTables() const = 0;  // of Gram counts, of 16 bits, for some row sets of models at least; else they are counted from the bits
};

// One table for the backend that nvcc built, and, in tests, one for the emulated GPU.
struct GpuOps {
  const char* name = "";
  int (*deviceCount)() = nullptr;

  // loops: of a launch, 1 to 2^18, of 8 matrix products a warp; the best of 5 launches counts. LETHE_KERNEL_WRONG where sums are not exact.
  Status (*measurePeaks)(int device, int64_t loops, int64_t copyBytes, GpuPeaks& peaks) = nullptr;

  // As their twins in evaluate.h: host memory in and out, blocks that fit the memory limit; isa and threads of the options mean nothing here.
  Status (*klom)(const KlomMargins& margins, const KlomOptions& options, const GpuOptions& gpu, double* scores, int32_t* nonFinite,
                 const TaskControl& control) = nullptr;
  Status (*marginsFromLogits)(const float* logits, const int32_t* labels, int64_t models, int64_t points, int64_t classes, const GpuOptions& gpu,
                              float* margins, uint8_t* predicted, const TaskControl& control) = nullptr;
  Status (*spearman)(const float* predicted, const float* actual, int64_t models, int64_t points, int64_t stride, const GpuOptions& gpu, double* correlation,
                     int64_t& numConstant, int64_t& numNonFinite, const TaskControl& control) = nullptr;
  const TrainBackend* train = nullptr;
  // design: opened with these options, for 0 targets: its own tables are for the CPU. numTargets: of all its fits; many make tables of Gram
  // counts on the devices. LETHE_TASK_ABORTED.
  Status (*openFit)(std::shared_ptr<const LassoDesign> design, const FitOptions& options, const GpuOptions& gpu, int64_t numTargets, const TaskControl& control,
                    std::unique_ptr<GpuFit>& opened) = nullptr;
};

// Null in a build without nvcc.
const GpuOps* gpuOps();

}  // namespace lethe
