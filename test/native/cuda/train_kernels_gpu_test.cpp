// Every training kernel of the GPU but the convolutions, under the checks of the CPU's, forwards and backwards through the threads.
#include <cstdlib>

#include "cuda/gpu_table.h"
#include "managed_memory.h"
#include "train_bf16_check.h"
#include "train_kernels_check.h"

using namespace lethe;
using namespace lethe::test;

int main() {
  const GpuOps* gpu = testGpu();
  if (!gpu) return finish();
  eachThreadOrder([&](const std::string& order) {
    const DeviceUse use(*gpu->train, 0);
    checkTrainKernels(*gpu->train->fp32, gpu->name + order);
    checkBf16Kernels(*gpu->train->bf16, gpu->name + order);
  });
  return finish();
}
