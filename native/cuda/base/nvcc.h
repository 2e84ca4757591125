// The names of gpu.h on a real GPU (sm_80 or later).
#pragma once
#include <cuda_runtime.h>

#include <cstring>
#include <functional>
#include <utility>

#define LETHE_UNROLL _Pragma("unroll")

namespace lethe {
inline namespace LETHE_ISA {

// ---------------------------------------------------------------- device code

// The dynamic shared memory of the block, 16-byte aligned.
template <typename T>
__device__ __forceinline__ T* dynamicShared() {
  extern __shared__ __align__(16) unsigned char letheDynamicShared[];
  return reinterpret_cast<T*>(letheDynamicShared);
}

// D += A B of a 16 x 16 and a 16 x 8 tile of bf16 with fp32 sums. With g = lane / 4 and t = lane % 4:
// a[0], a[1]: rows g, g + 8 at k = 2t, 2t + 1; a[2], a[3]: the same rows at k + 8; b[0], b[1]: column g at k = 2t, 2t + 1 and k + 8;
// d[0], d[1]: row g at columns 2t, 2t + 1; d[2], d[3]: row g + 8.
__device__ __forceinline__ void mmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// D += A B of a 16 x 32 and a 32 x 8 tile of int8 with int32 sums. a[0], a[1]: rows g, g + 8 at k = 4t .. 4t + 3; a[2], a[3]: k + 16;
// b[0], b[1]: column g at k = 4t .. 4t + 3 and k + 16; d as in mmaBf16.
__device__ __forceinline__ void mmaS8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8 x 8 matrices of 16-bit values from shared memory; lane i gives the address of row i % 8 (16 bytes) of matrix i / 8.
// r[k]: of matrix k, row lane / 4, columns 2 * (lane % 4) and the next.
__device__ __forceinline__ void loadMatrix4(uint32_t (&r)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
// The same of the transposed matrices: r[k] holds rows 2 * (lane % 4) and the next, column lane / 4.
__device__ __forceinline__ void loadMatrix4Transposed(uint32_t (&r)[4], const void* row) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// Starts copying 16 bytes from global to shared memory, both aligned; zeros instead where valid is false (from is not read then, but must be
// a global address).
__device__ __forceinline__ void copyAsync16(void* to, const void* from, bool valid) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}
// Closes the group of copies this thread has started.
__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most the latest `pending` groups of this thread are unfinished; other threads see the data after a barrier.
template <int pending>
__device__ __forceinline__ void waitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// ---------------------------------------------------------------- host code

inline thread_local cudaStream_t currentStream = nullptr;

inline void checkGpu(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // a failed call must not poison later ones
  throw GpuError(error == cudaErrorMemoryAllocation ? "LETHE_GPU_MEMORY_EXHAUSTED" : "LETHE_GPU_FAILED",
                 std::string(what) + ": " + cudaGetErrorString(error) + ".");
}

inline int deviceCount() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

// The GPU of the calling thread.
inline void useDevice(int index) { checkGpu(cudaSetDevice(index), "cudaSetDevice"); }

inline int64_t freeDeviceBytes() {
  size_t freeBytes = 0, total = 0;
  checkGpu(cudaMemGetInfo(&freeBytes, &total), "cudaMemGetInfo");
  return static_cast<int64_t>(freeBytes);
}

inline int multiprocessors() {
  int device = 0, count = 0;
  checkGpu(cudaGetDevice(&device), "cudaGetDevice");
  checkGpu(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  return count;
}

// Shared memory a block may have on the calling thread's GPU, static and dynamic together.
inline int64_t mostSharedBytes() {
  int device = 0, bytes = 0;
  checkGpu(cudaGetDevice(&device), "cudaGetDevice");
  checkGpu(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
  return bytes;
}

// Page-locked memory that small uploads go through, piece after piece: copies from it do not wait for the kernels before them, and what a copy
// from other host memory reads after the call returns is the driver's to choose.
class Staging {
 public:
  static constexpr int64_t kBytes = 256 << 10;  // of a piece
  Staging() = default;
  ~Staging() {
    for (cudaEvent_t sent : sent_) {
      if (sent) cudaEventDestroy(sent);
    }
    if (memory_) cudaFreeHost(memory_);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // As the host's upload() of at most kBytes.
  void upload(void* device, const void* host, int64_t bytes, cudaStream_t stream) {
    if (!memory_) checkGpu(cudaMallocHost(&memory_, kPieces * kBytes), "allocating page-locked memory");
    cudaEvent_t& sent = sent_[next_];
    if (!sent) checkGpu(cudaEventCreateWithFlags(&sent, cudaEventDisableTiming), "making an event");
    checkGpu(cudaEventSynchronize(sent), "waiting for an upload");  // at once where there was none
    void* held = static_cast<uint8_t*>(memory_) + static_cast<int64_t>(next_) * kBytes;
    std::memcpy(held, host, static_cast<size_t>(bytes));
    checkGpu(cudaMemcpyAsync(device, held, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream), "copying to the GPU");
    checkGpu(cudaEventRecord(sent, stream), "marking an upload");
    next_ = (next_ + 1) % kPieces;
  }

 private:
  static constexpr int kPieces = 4;
  void* memory_ = nullptr;
  cudaEvent_t sent_[kPieces] = {};  // the latest copy from each piece
  int next_ = 0;
};

inline thread_local Staging* currentStaging = nullptr;

// The calling thread's launches and copies go in order into a stream of their own while this lives.
class Stream {
 public:
  Stream() {
    checkGpu(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    before_ = std::exchange(currentStream, stream_);
    stagingBefore_ = std::exchange(currentStaging, &staging_);
  }
  ~Stream() {
    currentStream = before_;
    currentStaging = stagingBefore_;
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

 private:
  cudaStream_t stream_ = nullptr, before_ = nullptr;
  Staging staging_, *stagingBefore_ = nullptr;
};

inline thread_local bool recordingNow = false;
inline void requireNoRecording(const char* what) {
  if (recordingNow) throw GpuError("LETHE_GPU_FAILED", std::string(what) + " cannot be recorded.");
}

// Launches, copies on the device and clears of body, recorded and not run: what body launches must have been launched before, since kernels are
// loaded on first use. replay() runs them in order in the present stream, in one launch.
class Recording {
 public:
  explicit Recording(const std::function<void()>& body) {
    requireNoRecording("a recording");
    checkGpu(cudaStreamBeginCapture(currentStream, cudaStreamCaptureModeThreadLocal), "recording");
    cudaGraph_t graph = nullptr;
    recordingNow = true;
    try {
      body();
    } catch (...) {
      recordingNow = false;
      cudaStreamEndCapture(currentStream, &graph);
      if (graph) cudaGraphDestroy(graph);
      cudaGetLastError();
      throw;
    }
    recordingNow = false;
    checkGpu(cudaStreamEndCapture(currentStream, &graph), "ending a recording");
    const cudaError_t made = cudaGraphInstantiateWithFlags(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    checkGpu(made, "making a graph of a recording");
  }
  ~Recording() {
    if (graph_) cudaGraphExecDestroy(graph_);
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  void replay() const { checkGpu(cudaGraphLaunch(graph_, currentStream), "launching a graph"); }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

inline void synchronize() {
  requireNoRecording("waiting");
  checkGpu(cudaStreamSynchronize(currentStream), "waiting for the GPU");
}

// Uninitialised memory of the calling thread's GPU, aligned to 256 bytes.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(int64_t bytes) : bytes_(bytes) {
    if (bytes <= 0) return;
    requireNoRecording("an allocation");
    checkGpu(cudaMalloc(&memory_, static_cast<size_t>(bytes)), ("allocating " + std::to_string(bytes) + " bytes of GPU memory").c_str());
  }
  DeviceMemory(DeviceMemory&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory() {
    if (memory_) cudaFree(memory_);
  }
  void* data() const { return memory_; }
  int64_t bytes() const { return bytes_; }

 private:
  void* memory_ = nullptr;
  int64_t bytes_ = 0;
};

// In the order of the stream; the host memory may be reused when the call returns. Large uploads wait for the stream.
inline void upload(void* device, const void* host, int64_t bytes) {
  requireNoRecording("an upload");
  if (bytes <= 0) return;
  if (currentStaging && bytes <= Staging::kBytes) return currentStaging->upload(device, host, bytes, currentStream);
  checkGpu(cudaMemcpyAsync(device, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, currentStream), "copying to the GPU");
  synchronize();
}
// Rows of rowBytes that lie hostStride and deviceStride bytes apart. Waits for the stream.
inline void uploadRows(void* device, int64_t deviceStride, const void* host, int64_t hostStride, int64_t rowBytes, int64_t rows) {
  requireNoRecording("an upload");
  if (rowBytes <= 0 || rows <= 0) return;
  checkGpu(cudaMemcpy2DAsync(device, static_cast<size_t>(deviceStride), host, static_cast<size_t>(hostStride), static_cast<size_t>(rowBytes),
                             static_cast<size_t>(rows), cudaMemcpyHostToDevice, currentStream),
           "copying to the GPU");
  synchronize();
}
// Waits for the stream.
inline void download(void* host, const void* device, int64_t bytes) {
  requireNoRecording("a download");
  if (bytes > 0) checkGpu(cudaMemcpyAsync(host, device, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, currentStream), "copying from the GPU");
  synchronize();
}
inline void copyOnDevice(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) checkGpu(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, currentStream), "copying on the GPU");
}
inline void clear(void* device, int64_t bytes) {
  if (bytes > 0) checkGpu(cudaMemsetAsync(device, 0, static_cast<size_t>(bytes), currentStream), "clearing GPU memory");
}

template <typename... Parameters, typename... Arguments>
void launch(dim3 grid, dim3 block, int64_t sharedBytes, void (*kernel)(Parameters...), Arguments&&... arguments) {
  // More than 48 KiB, static and dynamic together, must be asked for; always as much as there is: another thread may launch the same kernel with more.
  if (sharedBytes > 0) {
    const void* function = reinterpret_cast<const void*>(kernel);
    cudaFuncAttributes uses;
    checkGpu(cudaFuncGetAttributes(&uses, function), "cudaFuncGetAttributes");
    const int most = static_cast<int>(mostSharedBytes() - static_cast<int64_t>(uses.sharedSizeBytes));
    checkGpu(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, most), "asking for shared memory");
  }
  kernel<<<grid, block, static_cast<size_t>(sharedBytes), currentStream>>>(std::forward<Arguments>(arguments)...);
  checkGpu(cudaGetLastError(), "launching a kernel");
}

}  // namespace LETHE_ISA
}  // namespace lethe
