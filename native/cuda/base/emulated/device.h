// The names of gpu.h on an emulated GPU: blocks run one after the other, the threads of a block as fibers of one host thread that switch
// at barriers and warp operations. It is strict where hardware is forgiving:
//   - a barrier or warp operation that some thread never reaches is an error;
//   - an asynchronous copy spoils its destination at once and delivers as late as it may;
//   - fresh device and dynamic shared memory holds NaNs;
//   - setThreadOrder() runs threads and blocks forwards or backwards: what depends on the order has a race.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static thread_local
#define LETHE_UNROLL
#define __align__(bytes) __attribute__((aligned(bytes)))

namespace lethe {
inline namespace LETHE_ISA {

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }

namespace emulator {

// The thread that runs now; set at every switch.
extern thread_local uint3 currentThread, currentBlock;
extern thread_local dim3 currentBlockSize, currentGridSize;
extern thread_local uint8_t* currentShared;

void blockBarrier();
// Waits until every lane of the warp has called it; waitForLanes() is no barrier for memory.
void warpBarrier();
void waitForLanes();
// Fibers have no frame that could catch: what would be undefined behaviour on a GPU ends the program.
[[noreturn]] void stop(const char* what);
int lane();
// Words that lanes of the warp hand to each other: slot(lane) of the present operation; exchange() starts one.
uint32_t* exchange(const uint32_t* words, int count);  // returns (32, 8): the words of every lane
void startCopy(void* to, const void* from, bool valid);
void commitCopies();
void waitCopies(int pending);
void runGrid(dim3 grid, dim3 block, int64_t sharedBytes, const std::function<void()>& kernel);
// Work of the device: done at once, or added to the recording that is being made by this thread.
void submit(std::function<void()> work);
void requireNoRecording(const char* what);

void setThreadOrder(bool backwards);
// The emulated device; memory beyond the limit cannot be allocated. Launch number `launch` from now fails; -1: none does.
void setMemoryLimit(int64_t bytes);
void setDeviceCount(int count);
void tellSharedBytes(int64_t bytes);  // what mostSharedBytes() says; launches may use as much as ever
void failAtLaunch(int64_t launch);
int64_t allocatedBytes();
int64_t peakBytes();
void resetPeak();

}  // namespace emulator

#define threadIdx (::lethe::emulator::currentThread)
#define blockIdx (::lethe::emulator::currentBlock)
#define blockDim (::lethe::emulator::currentBlockSize)
#define gridDim (::lethe::emulator::currentGridSize)

template <typename T>
T* dynamicShared() {
  return reinterpret_cast<T*>(emulator::currentShared);
}

inline void __syncthreads() { emulator::blockBarrier(); }
inline void __syncwarp() { emulator::warpBarrier(); }

// A warp operation is no barrier for memory. ThreadSanitizer does not see the words that lanes hand to each other.
#define LETHE_UNSEEN __attribute__((no_sanitize("thread")))

template <typename T>
LETHE_UNSEEN T shuffle(T value, int source) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  uint32_t words[2] = {0, 0};
  std::memcpy(words, &value, sizeof value);
  const uint32_t* all = emulator::exchange(words, 2);
  T result;
  std::memcpy(&result, all + source * 8, sizeof result);
  return result;
}
template <typename T>
T __shfl_sync(uint32_t, T value, int source) {
  return shuffle(value, source & 31);
}
template <typename T>
T __shfl_xor_sync(uint32_t, T value, int mask) {
  return shuffle(value, emulator::lane() ^ mask);
}
template <typename T>
T __shfl_down_sync(uint32_t, T value, int distance) {
  const int lane = emulator::lane();
  return shuffle(value, lane + distance < 32 ? lane + distance : lane);
}
LETHE_UNSEEN inline uint32_t __ballot_sync(uint32_t, int predicate) {
  const uint32_t word = predicate != 0;
  const uint32_t* all = emulator::exchange(&word, 1);
  uint32_t result = 0;
  for (int k = 0; k < 32; ++k) result |= all[k * 8] << k;
  return result;
}

// Of integers; like a GPU's, they order no other access.
template <typename T>
T atomicAdd(T* at, T value) {
  return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}
template <typename T>
T atomicMax(T* at, T value) {
  T before = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (value > before && !__atomic_compare_exchange_n(at, &before, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}
template <typename T>
T atomicOr(T* at, T value) {
  return __atomic_fetch_or(at, value, __ATOMIC_RELAXED);
}
inline int __popc(uint32_t value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value)); }
inline int __ffs(int value) { return __builtin_ffs(value); }
template <typename T>
T __ldg(const T* at) {
  return *at;
}

// Products and sums that are never fused into one rounding.
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }

void mmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void mmaS8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void loadMatrix4(uint32_t (&r)[4], const void* row);
void loadMatrix4Transposed(uint32_t (&r)[4], const void* row);
inline void copyAsync16(void* to, const void* from, bool valid) { emulator::startCopy(to, from, valid); }
inline void commitCopies() { emulator::commitCopies(); }
template <int pending>
void waitCopies() {
  emulator::waitCopies(pending);
}

// ---------------------------------------------------------------- host code

int deviceCount();
void useDevice(int index);
int64_t freeDeviceBytes();
inline int multiprocessors() { return 4; }
int64_t mostSharedBytes();
class Stream {
 public:
  Stream() {}  // not trivial: callers hold one for its lifetime
  ~Stream() {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};
class Recording {
 public:
  explicit Recording(const std::function<void()>& body);
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  void replay() const;

 private:
  std::vector<std::function<void()>> work_;
};
inline void synchronize() { emulator::requireNoRecording("waiting"); }

class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(int64_t bytes);
  DeviceMemory(DeviceMemory&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory();
  void* data() const { return memory_; }
  int64_t bytes() const { return bytes_; }

 private:
  void* memory_ = nullptr;
  int64_t bytes_ = 0;
};

// Zero bytes may come from or go to a null pointer, as on a real GPU.
inline void upload(void* device, const void* host, int64_t bytes) {
  emulator::requireNoRecording("an upload");
  if (bytes > 0) std::memcpy(device, host, static_cast<size_t>(bytes));
}
inline void uploadRows(void* device, int64_t deviceStride, const void* host, int64_t hostStride, int64_t rowBytes, int64_t rows) {
  emulator::requireNoRecording("an upload");
  for (int64_t r = 0; rowBytes > 0 && r < rows; ++r) {
    std::memcpy(static_cast<uint8_t*>(device) + r * deviceStride, static_cast<const uint8_t*>(host) + r * hostStride, static_cast<size_t>(rowBytes));
  }
}
inline void download(void* host, const void* device, int64_t bytes) {
  emulator::requireNoRecording("a download");
  if (bytes > 0) std::memcpy(host, device, static_cast<size_t>(bytes));
}
inline void copyOnDevice(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) emulator::submit([=] { std::memmove(to, from, static_cast<size_t>(bytes)); });
}
inline void clear(void* device, int64_t bytes) {
  if (bytes > 0) emulator::submit([=] { std::memset(device, 0, static_cast<size_t>(bytes)); });
}

template <typename... Parameters, typename... Arguments>
void launch(dim3 grid, dim3 block, int64_t sharedBytes, void (*kernel)(Parameters...), Arguments&&... arguments) {
  emulator::submit([grid, block, sharedBytes, kernel, ... values = std::decay_t<Arguments>(std::forward<Arguments>(arguments))] {
    emulator::runGrid(grid, block, sharedBytes, [&] { kernel(values...); });
  });
}

}  // namespace LETHE_ISA
}  // namespace lethe
