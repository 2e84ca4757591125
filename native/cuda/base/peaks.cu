// What a GPU can do at most: matrix products between registers, and copies within its memory.
#include <chrono>
#include <functional>
#include <vector>

#include "cuda/base/compiler.h"
#include "lethe/gpu_ops.h"

namespace lethe {
namespace {

constexpr int kThreads = 256, kBlocksPerProcessor = 4;
constexpr int kChains = 8;  // independent sums of a warp hide the latency of the instruction
constexpr int64_t kMostLoops = int64_t{1} << 18;  // the sums stay below 2^24, where fp32 counts exactly
constexpr int kTrials = 5;

// Each product adds 16 ones to every sum. result: (blocks * kThreads), the sum of a thread's sums over chains.
__global__ void __launch_bounds__(kThreads) multiplyOnesBf16(int64_t loops, float* result) {
  constexpr uint32_t kOnes = 0x3F803F80u;
  const uint32_t a[4] = {kOnes, kOnes, kOnes, kOnes}, b[2] = {kOnes, kOnes};
  float sums[kChains][4] = {};
  for (int64_t loop = 0; loop < loops; ++loop) {
    for (int chain = 0; chain < kChains; ++chain) mmaBf16(sums[chain], a, b);
  }
  float total = 0;
  for (int chain = 0; chain < kChains; ++chain) total += sums[chain][0] == sums[chain][3] ? sums[chain][0] : -1.f;
  result[static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x] = total / kChains;
}

// The same of int8: 32 ones a product.
__global__ void __launch_bounds__(kThreads) multiplyOnesS8(int64_t loops, int32_t* result) {
  constexpr uint32_t kOnes = 0x01010101u;
  const uint32_t a[4] = {kOnes, kOnes, kOnes, kOnes}, b[2] = {kOnes, kOnes};
  int32_t sums[kChains][4] = {};
  for (int64_t loop = 0; loop < loops; ++loop) {
    for (int chain = 0; chain < kChains; ++chain) mmaS8(sums[chain], a, b);
  }
  int32_t total = 0;
  for (int chain = 0; chain < kChains; ++chain) total += sums[chain][0] == sums[chain][3] ? sums[chain][0] : -1;
  result[static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x] = total / kChains;
}

// Seconds of the fastest of several calls; work has finished when it returns.
double fastest(const std::function<void()>& work) {
  double best = 1e30;
  for (int trial = 0; trial < kTrials; ++trial) {
    const auto from = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count());
  }
  return best;
}

// 10^12 operations a second; every thread's sum must be perProduct * loops.
template <typename Sum>
double productRate(void (*kernel)(int64_t, Sum*), int64_t loops, int64_t perProduct) {
  const int64_t blocks = kBlocksPerProcessor * multiprocessors(), threads = blocks * kThreads;
  const DeviceMemory sums(threads * static_cast<int64_t>(sizeof(Sum)));
  const double seconds = fastest([&] {
    launch(dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, kernel, loops, static_cast<Sum*>(sums.data()));
    synchronize();
  });
  std::vector<Sum> found(static_cast<size_t>(threads));
  download(found.data(), sums.data(), sums.bytes());
  for (const Sum sum : found) {
    if (sum != static_cast<Sum>(perProduct * loops)) {
      throw GpuError("LETHE_KERNEL_WRONG",
                     "a matrix instruction: expected a sum of " + std::to_string(perProduct * loops) + "; received " + std::to_string(sum) + ".");
    }
  }
  const double products = static_cast<double>(threads / 32 * kChains * loops);
  return products * 2 * 16 * 8 * static_cast<double>(perProduct) / seconds * 1e-12;
}

}  // namespace

Status LETHE_PER_ISA(measureGpuPeaks)(int device, int64_t loops, int64_t copyBytes, GpuPeaks& peaks) {
  if (loops < 1 || loops > kMostLoops || copyBytes < 1) {
    return Status::error("LETHE_ARGUMENT_INVALID", "expected 1 to " + std::to_string(kMostLoops) + " loops and a positive number of bytes.");
  }
  try {
    useDevice(device);
    const Stream stream;
    peaks.bf16Tflops = productRate(multiplyOnesBf16, loops, 16);
    peaks.int8Tops = productRate(multiplyOnesS8, loops, 32);
    const DeviceMemory from(copyBytes), to(copyBytes);
    clear(from.data(), copyBytes);
    const double seconds = fastest([&] {
      copyOnDevice(to.data(), from.data(), copyBytes);
      synchronize();
    });
    peaks.memoryGbytes = 2 * static_cast<double>(copyBytes) / seconds * 1e-9;
  } catch (const GpuError& error) {
    return error.status();
  }
  return Status::success();
}

}  // namespace lethe
