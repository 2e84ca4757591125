// Every training kernel of the GPU but the convolutions, under the checks of the CPU's; the order of threads must not show.
#include "gpu_table.h"
#include "managed_memory.h"
#include "train_bf16_check.h"
#include "train_kernels_check.h"

using namespace lethe;
using namespace lethe::test;

int main() {
  if (withoutGpu()) return finish();
  const TrainBackend& backend = *testGpu().train;
  uint64_t digests[2];
  inThreadOrders([&](int run) {
    const DeviceUse use(backend, 0);
    digest = 0;
    checkTrainKernels(*backend.fp32, "cuda");
    checkBf16Kernels(*backend.bf16, "cuda");
    digests[run] = digest;
  });
  expect(digests[0] == digests[1], "results do not depend on the order of threads");
  return finish();
}
