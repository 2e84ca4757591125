// Every training kernel of the GPU but the convolutions, under the checks of the CPU's; the order of threads must not show.
#include "cuda/gpu_table.h"
#include "cuda/host_memory.h"
#include "train/train_bf16_check.h"
#include "train/train_kernels_check.h"

using namespace lethe;
using namespace lethe::test;

// What takes several blocks: sums in two levels, more channels than a block has threads for, and so many that rows of sums are scarce.
static void checkManyBlocks(const TrainBackend& backend) {
  for (const Size& s : {Size{3, 37, 31, 64}, Size{2, 5, 9, 1040}, Size{2, 9, 3, 301}, Size{1, 61, 20, 5}}) {
    for (const bool batch : {false, true}) checkBatchNorm(*backend.fp32, s, true, batch, false, "cuda");
    checkPointwise(*backend.fp32, s, "cuda");
    checkMaxPool(*backend.fp32, s, {3, 2, 1}, "cuda");
    checkGlobalPools(*backend.fp32, s, "cuda");
    checkNorm(*backend.bf16, {s.n, s.h, s.w, s.c}, false, "cuda bf16 " + s.name());
  }
  for (const Size& s : {Size{3, 37, 31, 64}, Size{2, 5, 9, 1040}, Size{1, 33, 33, 4096}}) {
    checkStatistics(*backend.fp32, s, 300, false, "cuda statistics far from zero " + s.name());
  }
  checkLinear(*backend.fp32, 300, 513, 17, "cuda");
  checkLoss(*backend.fp32, {1, 0.1f, 0.5f, 0.25f, 2}, 700, 10, false, "cuda loss of 700x10");
  checkOptimizers(*backend.fp32, 5003, "cuda");
}

int main() {
  if (withoutGpu()) return finish();
  const TrainBackend& backend = *testGpu().train;
  uint64_t digests[2];
  inThreadOrders([&](int run) {
    const DeviceUse use(backend, 0);
    digest = 0;
    checkTrainKernels(*backend.fp32, "cuda");
    checkBf16Kernels(*backend.bf16, "cuda");
    checkManyBlocks(backend);
    digests[run] = digest;
  });
  expect(digests[0] == digests[1], "results do not depend on the order of threads");
  return finish();
}
