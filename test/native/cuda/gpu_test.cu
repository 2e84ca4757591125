// The building blocks of native/cuda/base/compiler.h against their definitions: operand layouts of the matrix instructions, transposed loads,
// asynchronous copies, warp operations. On the emulated GPU also its own rules.
#ifdef __SANITIZE_THREAD__
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <random>
#include <vector>

#include "base/check.h"
#include "cuda/base/compiler.h"
#include "lethe/base/bf16.h"

using namespace lethe;
using namespace lethe::test;

namespace {

// a: (16, 16), b: (8, 16) with k contiguous, c: (16, 8)
__global__ void multiplyBf16(const Bf16* a, const Bf16* b, float* c) {
  __shared__ __align__(16) uint16_t rows[16 * 16];
  __shared__ __align__(16) uint16_t columns[16 * 16];  // half of it used; the other half is loaded and dropped
  const int lane = static_cast<int>(threadIdx.x);
  copyAsync16(rows + lane * 8, a + lane * 8, true);
  copyAsync16(columns + lane * 8, b + (lane < 16 ? lane * 8 : 0), lane < 16);
  commitCopies();
  waitCopies<0>();
  __syncthreads();
  uint32_t left[4], right[4];
  loadMatrix4(left, rows + (lane % 16) * 16 + lane / 16 * 8);
  loadMatrix4(right, columns + (lane % 8 + (lane / 16) * 8) * 16 + lane / 8 % 2 * 8);
  const uint32_t pair[2] = {right[0], right[1]};
  float sums[4] = {0, 0, 0, 0};
  mmaBf16(sums, left, pair);
  for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

// a: (16, 32), b: (8, 32) with k contiguous, c: (16, 8)
__global__ void multiplyS8(const int8_t* a, const int8_t* b, int32_t* c) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  uint32_t left[4], right[2];
  for (int i = 0; i < 4; ++i) memcpy(&left[i], a + (g + i % 2 * 8) * 32 + i / 2 * 16 + 4 * t, 4);
  for (int i = 0; i < 2; ++i) memcpy(&right[i], b + g * 32 + i * 16 + 4 * t, 4);
  int32_t sums[4] = {1, 1, 1, 1};
  mmaS8(sums, left, right);
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sums[i];
}

// Two warps: y[i] = x[i] transposed in tiles by ldmatrix, and warp sums by shuffles.
__global__ void transposeTiles(const uint16_t* x, uint32_t* y, int32_t* sums, uint32_t* ballots) {
  uint16_t* tile = dynamicShared<uint16_t>();  // (2, 32, 8)
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  for (int k = 0; k < 8; ++k) tile[thread * 8 + k] = x[thread * 8 + k];
  __syncthreads();
  uint32_t words[4];
  loadMatrix4Transposed(words, tile + (warp * 32 + lane) * 8);
  for (int k = 0; k < 4; ++k) y[(warp * 4 + k) * 32 + lane] = words[k];
  int32_t sum = lane * lane;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
  const int32_t below = __shfl_down_sync(0xFFFFFFFFu, lane, 3), first = __shfl_sync(0xFFFFFFFFu, lane, 7);
  sums[thread] = sum + 1000 * below + 100000 * first;
  ballots[thread] = __ballot_sync(0xFFFFFFFFu, lane % 3 == 0);
}

__global__ void addTo(const int32_t* from, int32_t* to, int32_t step) {
  const int thread = static_cast<int>(threadIdx.x);
  to[thread] += from[thread] + step;
}

template <typename T>
DeviceMemory onDevice(const std::vector<T>& values) {
  DeviceMemory memory(static_cast<int64_t>(values.size() * sizeof(T)));
  upload(memory.data(), values.data(), memory.bytes());
  return memory;
}
template <typename T>
std::vector<T> fromDevice(const DeviceMemory& memory) {
  std::vector<T> values(static_cast<size_t>(memory.bytes()) / sizeof(T));
  download(values.data(), memory.data(), memory.bytes());
  return values;
}

void checkProducts() {
  std::mt19937 random(1);
  std::vector<Bf16> a(256), b(128);
  for (Bf16& value : a) value = static_cast<float>(static_cast<int>(random() % 17) - 8);
  for (Bf16& value : b) value = static_cast<float>(static_cast<int>(random() % 17) - 8);
  const DeviceMemory da = onDevice(a), db = onDevice(b), dc = DeviceMemory(128 * 4);
  launch(1, 32, 0, multiplyBf16, static_cast<const Bf16*>(da.data()), static_cast<const Bf16*>(db.data()), static_cast<float*>(dc.data()));
  const std::vector<float> c = fromDevice<float>(dc);
  std::vector<int8_t> x(512), y(256);
  for (int8_t& value : x) value = static_cast<int8_t>(random());
  for (int8_t& value : y) value = static_cast<int8_t>(random());
  const DeviceMemory dx = onDevice(x), dy = onDevice(y), dz = DeviceMemory(128 * 4);
  launch(1, 32, 0, multiplyS8, static_cast<const int8_t*>(dx.data()), static_cast<const int8_t*>(dy.data()), static_cast<int32_t*>(dz.data()));
  const std::vector<int32_t> z = fromDevice<int32_t>(dz);
  bool bf16 = true, int8 = true;
  for (size_t i = 0; i < 16; ++i) {
    for (size_t j = 0; j < 8; ++j) {
      float sum = 0;
      int32_t whole = 1;
      for (size_t k = 0; k < 16; ++k) sum += static_cast<float>(a[i * 16 + k]) * static_cast<float>(b[j * 16 + k]);
      for (size_t k = 0; k < 32; ++k) whole += x[i * 32 + k] * y[j * 32 + k];
      bf16 = bf16 && sum == c[i * 8 + j];
      int8 = int8 && whole == z[i * 8 + j];
    }
  }
  expect(bf16, "mmaBf16 of whole numbers is exact");
  expect(int8, "mmaS8");
}

void checkWarpOperations() {
  std::vector<uint16_t> x(2 * 32 * 8);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint16_t>(i * 7);
  const DeviceMemory dx = onDevice(x), dy = DeviceMemory(256 * 4), dSums = DeviceMemory(64 * 4), dBallots = DeviceMemory(64 * 4);
  launch(1, 64, 2 * 32 * 8 * 2, transposeTiles, static_cast<const uint16_t*>(dx.data()), static_cast<uint32_t*>(dy.data()), static_cast<int32_t*>(dSums.data()),
         static_cast<uint32_t*>(dBallots.data()));
  const std::vector<uint32_t> y = fromDevice<uint32_t>(dy), ballots = fromDevice<uint32_t>(dBallots);
  const std::vector<int32_t> sums = fromDevice<int32_t>(dSums);
  bool transposed = true, shuffled = true;
  for (size_t warp = 0; warp < 2; ++warp) {
    for (size_t lane = 0; lane < 32; ++lane) {
      for (size_t k = 0; k < 4; ++k) {
        const uint16_t* matrix = x.data() + (warp * 32 + k * 8) * 8;
        const uint32_t low = matrix[lane % 4 * 2 * 8 + lane / 4], high = matrix[(lane % 4 * 2 + 1) * 8 + lane / 4];
        transposed = transposed && y[(warp * 4 + k) * 32 + lane] == (low | high << 16);
      }
      const int32_t below = static_cast<int32_t>(lane + 3 < 32 ? lane + 3 : lane);
      shuffled = shuffled && sums[warp * 32 + lane] == 10416 + 1000 * below + 700000 && ballots[warp * 32 + lane] == 0x49249249u;
    }
  }
  expect(transposed, "loadMatrix4Transposed");
  expect(shuffled, "shuffles and ballots");
}

#ifdef LETHE_EMULATE_CUDA
// Reads a neighbour's value without a barrier in between: a race.
__global__ void race(int* out) {
  out[threadIdx.x] = static_cast<int>(threadIdx.x);
  out[64 + threadIdx.x] = out[(threadIdx.x + 1) % 64];
}

#ifdef __SANITIZE_THREAD__
// A warp operation does not order what lanes write and read.
__global__ void exchangeWithoutSync(int* out) {
  __shared__ int shared[64];
  shared[threadIdx.x] = static_cast<int>(__ballot_sync(0xFFFFFFFFu, 1));
  out[threadIdx.x] = static_cast<int>(__ballot_sync(0xFFFFFFFFu, 1)) + shared[threadIdx.x ^ 1];
}

// Others may not have read what is overwritten.
__global__ void reuseWithoutBarrier(int* out) {
  __shared__ int shared[64];
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  const int value = shared[(threadIdx.x + 1) % 64];
  shared[threadIdx.x] = value;
  __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x + 2) % 64];
}

// In a process of its own, since ThreadSanitizer may end it; to be called before anything is launched in this one.
bool isReported(void (*kernel)(int*)) {
  const pid_t child = fork();
  if (child == 0) {
    if (!freopen("/dev/null", "w", stderr)) _exit(0);
    DeviceMemory out(128 * 4);
    launch(1, 64, 0, kernel, static_cast<int*>(out.data()));
    exit(0);  // with a code of its own where there was a report
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 66;
}

void checkRaces() {
  expect(isReported(race), "ThreadSanitizer reports a race");
  expect(isReported(exchangeWithoutSync), "ThreadSanitizer reports lanes that do not wait for each other");
  expect(isReported(reuseWithoutBarrier), "ThreadSanitizer reports memory that is reused without a barrier");
}
#endif

void checkRules() {
#ifndef __SANITIZE_THREAD__
  std::vector<int> results[2];
  for (int backwards = 0; backwards < 2; ++backwards) {
    emulator::setThreadOrder(backwards == 1);
    DeviceMemory out(128 * 4);
    launch(1, 64, 0, race, static_cast<int*>(out.data()));
    results[backwards] = fromDevice<int>(out);
  }
  emulator::setThreadOrder(false);
  expect(results[0] != results[1], "a race shows in the order of threads");
#endif

  emulator::setMemoryLimit(emulator::allocatedBytes() + 1000);
  std::string code;
  try {
    DeviceMemory tooMuch(1001);
  } catch (const GpuError& error) {
    code = error.status().code;
  }
  emulator::setMemoryLimit(INT64_MAX);
  expect(code == "LETHE_GPU_MEMORY_EXHAUSTED", "allocations end at the limit");
}
#endif

// A recording does nothing by itself, and each time it is replayed what its kernels would, on what the memory holds then.
void checkRecording() {
  const Stream stream;  // before the uploads, which go into it
  const std::vector<int32_t> values(32, 5);
  const DeviceMemory from = onDevice(values), to = onDevice(values), copy = DeviceMemory(128);
  const auto launchAdd = [&](int32_t step) { launch(1, 32, 0, addTo, static_cast<const int32_t*>(from.data()), static_cast<int32_t*>(to.data()), step); };
  launchAdd(0);
  const Recording recording([&] {
    launchAdd(1);
    launchAdd(2);
    copyOnDevice(copy.data(), to.data(), 128);
    clear(to.data(), 64);
  });
  bool nothing = true, first = true, second = true;
  for (const int32_t value : fromDevice<int32_t>(to)) nothing = nothing && value == 10;
  expect(nothing, "what is recorded is not run");
  recording.replay();
  for (const int32_t value : fromDevice<int32_t>(copy)) first = first && value == 23;
  const std::vector<int32_t> more(32, 100);
  upload(const_cast<void*>(from.data()), more.data(), 128);
  recording.replay();
  const std::vector<int32_t> result = fromDevice<int32_t>(copy);
  for (size_t k = 0; k < 32; ++k) second = second && result[k] == (k < 16 ? 203 : 226);
  expect(first && second, "a replay runs kernels, copies and clears in order on what the memory holds");
  for (const auto& forbidden : {std::function<void()>([&] { upload(to.data(), more.data(), 4); }), std::function<void()>([] { DeviceMemory memory(4); }),
                                std::function<void()>([] { synchronize(); })}) {
    bool refused = false;
    try {
      const Recording bad(forbidden);
    } catch (const GpuError& error) {
      refused = error.status().code == "LETHE_GPU_FAILED";
    }
    expect(refused, "what cannot be recorded is refused");
  }
  launchAdd(0);
  expect(fromDevice<int32_t>(to).back() == 326, "after a refused recording the stream works");
}

}  // namespace

int main() {
  if (deviceCount() == 0) {
    skip("no GPU");
    return finish();
  }
#ifdef __SANITIZE_THREAD__
  checkRaces();
#endif
  checkProducts();
  checkWarpOperations();
  checkRecording();
#ifdef LETHE_EMULATE_CUDA
  emulator::setThreadOrder(true);
  checkProducts();
  checkWarpOperations();
  emulator::setThreadOrder(false);
  checkRules();
#endif
  return finish();
}
