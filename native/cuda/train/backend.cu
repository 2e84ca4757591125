// The GPU as a place to train: its tables of kernels, and device memory. A thread of the host that enters has a stream of its own.
#include "lethe/train/backend.h"

#include <memory>

#include "cuda/base/scratch.h"

namespace lethe {

void LETHE_PER_ISA(addConvKernels)(ImageKernels<float>&);
void LETHE_PER_ISA(addConvWeightKernels)(ImageKernels<float>&);
void LETHE_PER_ISA(addBatchNormKernels)(ImageKernels<float>&);
void LETHE_PER_ISA(addPointwiseKernels)(ImageKernels<float>&);
void LETHE_PER_ISA(addPoolKernels)(ImageKernels<float>&);
void LETHE_PER_ISA(addLinearKernels)(TrainKernels&);
void LETHE_PER_ISA(addLossKernels)(TrainKernels&);
void LETHE_PER_ISA(addOptimizerKernels)(TrainKernels&);
void LETHE_PER_ISA(addVectorKernels)(TrainKernels&);
void LETHE_PER_ISA(addConvBf16Kernels)(ImageKernels<Bf16>&);
void LETHE_PER_ISA(addConvWeightBf16Kernels)(ImageKernels<Bf16>&);
void LETHE_PER_ISA(addBatchNormBf16Kernels)(ImageKernels<Bf16>&);
void LETHE_PER_ISA(addPointwiseBf16Kernels)(ImageKernels<Bf16>&);
void LETHE_PER_ISA(addPoolBf16Kernels)(ImageKernels<Bf16>&);

namespace {

const TrainKernels& fp32Table() {
  static const TrainKernels table = [] {
    TrainKernels kernels{};
    LETHE_PER_ISA(addConvKernels)(kernels);
    LETHE_PER_ISA(addConvWeightKernels)(kernels);
    LETHE_PER_ISA(addBatchNormKernels)(kernels);
    LETHE_PER_ISA(addPointwiseKernels)(kernels);
    LETHE_PER_ISA(addPoolKernels)(kernels);
    LETHE_PER_ISA(addLinearKernels)(kernels);
    LETHE_PER_ISA(addLossKernels)(kernels);
    LETHE_PER_ISA(addOptimizerKernels)(kernels);
    LETHE_PER_ISA(addVectorKernels)(kernels);
    return kernels;
  }();
  return table;
}

const ImageKernels<Bf16>& bf16Table() {
  static const ImageKernels<Bf16> table = [] {
    ImageKernels<Bf16> kernels{};
    LETHE_PER_ISA(addConvBf16Kernels)(kernels);
    LETHE_PER_ISA(addConvWeightBf16Kernels)(kernels);
    LETHE_PER_ISA(addBatchNormBf16Kernels)(kernels);
    LETHE_PER_ISA(addPointwiseBf16Kernels)(kernels);
    LETHE_PER_ISA(addPoolBf16Kernels)(kernels);
    return kernels;
  }();
  return table;
}

void* enter(int device) {
  LETHE_PER_ISA(releaseScratch)();
  useDevice(device);
  return new Stream;
}

void leave(void* entered) {
  delete static_cast<Stream*>(entered);
  LETHE_PER_ISA(releaseScratch)();
}

void* allocate(int64_t bytes, uint8_t** data) {
  auto memory = std::make_unique<DeviceMemory>(bytes);
  clear(memory->data(), bytes);
  *data = static_cast<uint8_t*>(memory->data());
  return memory.release();
}

}  // namespace

const TrainBackend& LETHE_PER_ISA(trainBackend)() {
  static const TrainBackend result = [] {
    TrainBackend backend;
    backend.fp32 = &fp32Table();
    backend.bf16 = &bf16Table();
    backend.hostMemory = false;
    backend.evalBatch = 256;
    backend.stepsPerLook = 32;
    backend.workerBytes = kScratchBytes + (int64_t{8} << 20);  // and what the driver rounds up or keeps for a stream
    backend.enter = enter;
    backend.leave = leave;
    backend.freeBytes = [] { return freeDeviceBytes(); };
    backend.allocate = allocate;
    backend.release = [](void* allocated) { delete static_cast<DeviceMemory*>(allocated); };
    backend.upload = [](void* to, const void* from, int64_t bytes) { upload(to, from, bytes); };
    backend.download = [](void* to, const void* from, int64_t bytes) { download(to, from, bytes); };
    backend.clear = [](void* memory, int64_t bytes) { clear(memory, bytes); };
    backend.record = [](const std::function<void()>& body) -> void* { return new Recording(body); };
    backend.replay = [](void* recording) { static_cast<const Recording*>(recording)->replay(); };
    backend.releaseRecording = [](void* recording) { delete static_cast<Recording*>(recording); };
    return backend;
  }();
  return result;
}

}  // namespace lethe
