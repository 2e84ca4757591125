// The emulated GPU: fibers, barriers, warp exchange and late copies.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "cuda/base/compiler.h"
#include "cuda/base/emulated/races.h"

#if !defined(__x86_64__)
#error "the emulated GPU switches stacks on x86-64 only; leave LETHE_NATIVE_TESTS off elsewhere"
#endif

// Saves the callee's registers and stack of one fiber in *save and continues another where it left off.
extern "C" void letheSwitchStack(void** save, void* resume);
asm(R"(
.text
.globl letheSwitchStack
.type letheSwitchStack, @function
letheSwitchStack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size letheSwitchStack, .-letheSwitchStack
)");

namespace lethe {
inline namespace LETHE_ISA {
namespace emulator {

void stop(const char* what) {
  std::fprintf(stderr, "emulated GPU: %s\n", what);
  std::abort();
}

thread_local uint3 currentThread, currentBlock;
thread_local dim3 currentBlockSize, currentGridSize;
thread_local uint8_t* currentShared = nullptr;

namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr int kWarp = 32, kWords = 8;

struct Copy {
  void* to;
  uint8_t bytes[16];
};

enum class State { ready, atBlockBarrier, atWarpBarrier, done };

struct Fiber {
  void* stack = nullptr;  // where to resume
  State state = State::done;
  uint3 thread;
  int exchanges = 0, blockBarriers = 0, warpBarriers = 0;
  std::vector<std::vector<Copy>> groups;  // closed, oldest first
  std::vector<Copy> open;
};

struct Warp {
  int size = 0, arrived = 0;
  uint32_t words[2][kWarp][kWords];
  SyncPoint barriers[2];
};

class Block {
 public:
  ~Block() {
    if (stacks_) munmap(stacks_, capacity_ * kStackBytes);
    for (void* account : accounts_) __tsan_destroy_fiber(account);
  }

  void run(const dim3& size, const std::function<void()>& kernel, bool backwards) {
    const int count = static_cast<int>(size.x * size.y * size.z);
    prepare(count);
    kernel_ = &kernel;
    for (int i = 0; i < count; ++i) {
      Fiber& fiber = fibers_[static_cast<size_t>(i)];
      const unsigned at = static_cast<unsigned>(i);
      fiber.thread = {at % size.x, at / size.x % size.y, at / size.x / size.y};
      fiber.exchanges = fiber.blockBarriers = fiber.warpBarriers = 0;
      fiber.groups.clear();
      fiber.open.clear();
      fiber.state = State::ready;
      void** top = reinterpret_cast<void**>(static_cast<uint8_t*>(stacks_) + (at + 1) * kStackBytes) - 1;  // as if called: off 16 by 8
      *top = nullptr;                                      // the entry's return address: never used
      *--top = reinterpret_cast<void*>(&Block::enter);
      for (int k = 0; k < 6; ++k) *--top = nullptr;        // the six saved registers
      fiber.stack = top;
    }
    warps_.assign(static_cast<size_t>((count + kWarp - 1) / kWarp), Warp{});
    for (int i = 0; i < count; ++i) ++warps_[static_cast<size_t>(i / kWarp)].size;
    live_ = count;
    atBarrier_ = 0;
    // blocks come one after the other: the shared memory is the same
    start_.release();
    void* const host = __tsan_get_current_fiber ? __tsan_get_current_fiber() : nullptr;
    while (live_ > 0) {
      bool moved = false;
      for (int k = 0; k < count; ++k) {
        now_ = backwards ? count - 1 - k : k;
        Fiber& fiber = fibers_[static_cast<size_t>(now_)];
        if (fiber.state != State::ready) continue;
        moved = true;
        currentThread = fiber.thread;
        running_ = this;
        if (host) __tsan_switch_to_fiber(accounts_[static_cast<size_t>(now_)], kNoSync);
        letheSwitchStack(&scheduler_, fiber.stack);
        if (host) __tsan_switch_to_fiber(host, kNoSync);
      }
      if (live_ > 0 && atBarrier_ == live_) {
        atBarrier_ = 0;
        moved = true;
        for (Fiber& fiber : fibers_) {
          if (fiber.state == State::atBlockBarrier) fiber.state = State::ready;
        }
      }
      if (!moved) throw GpuError("LETHE_GPU_FAILED", "a barrier or warp operation was not reached by all of its threads.");
    }
    end_.acquire();
  }

  void yield(State state) {
    Fiber& fiber = fibers_[static_cast<size_t>(now_)];
    fiber.state = state;
    letheSwitchStack(&fiber.stack, scheduler_);
  }
  void blockBarrier() {
    // two points in turn: at the next barrier some threads arrive before others have left this one
    SyncPoint& point = barriers_[fiber().blockBarriers++ % 2];
    point.release();
    ++atBarrier_;
    yield(State::atBlockBarrier);
    point.acquire();
  }
  void warpSync() {
    SyncPoint& point = warps_[static_cast<size_t>(now_ / kWarp)].barriers[fiber().warpBarriers++ % 2];
    point.release();
    warpBarrier();
    point.acquire();
  }
  void warpBarrier() {
    Warp& warp = warps_[static_cast<size_t>(now_ / kWarp)];
    if (++warp.arrived < warp.size) return yield(State::atWarpBarrier);
    warp.arrived = 0;
    const int first = now_ / kWarp * kWarp;
    for (int k = first; k < first + warp.size; ++k) {
      Fiber& fiber = fibers_[static_cast<size_t>(k)];
      if (fiber.state == State::atWarpBarrier) fiber.state = State::ready;
    }
  }
  uint32_t* exchange(const uint32_t* words, int count) {
    Warp& warp = warps_[static_cast<size_t>(now_ / kWarp)];
    if (warp.size != kWarp) stop("a warp operation in a block that is not whole warps");
    // a lane can be one operation ahead of the others, not two
    auto& table = warp.words[fiber().exchanges++ % 2];
    std::copy_n(words, count, table[lane()]);
    warpBarrier();
    return &table[0][0];
  }
  int lane() const { return now_ % kWarp; }
  Fiber& fiber() { return fibers_[static_cast<size_t>(now_)]; }

  static thread_local Block* running_;

 private:
  static void enter() {
    Block* block = running_;
    block->start_.acquire();
    (*block->kernel_)();
    block->end_.release();
    --block->live_;
    block->yield(State::done);
    std::abort();  // a finished fiber is not resumed
  }

  void prepare(int count) {
    fibers_.resize(static_cast<size_t>(count));
    while (__tsan_create_fiber && accounts_.size() < fibers_.size()) accounts_.push_back(__tsan_create_fiber(0));
    if (static_cast<size_t>(count) <= capacity_) return;
    if (stacks_) munmap(stacks_, capacity_ * kStackBytes);
    capacity_ = static_cast<size_t>(count);
    stacks_ = mmap(nullptr, capacity_ * kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks_ == MAP_FAILED) {
      stacks_ = nullptr;
      capacity_ = 0;
      throw std::bad_alloc();
    }
  }

  static constexpr unsigned kNoSync = 1;  // __tsan_switch_to_fiber_no_sync

  const std::function<void()>* kernel_ = nullptr;
  std::vector<void*> accounts_;  // ThreadSanitizer's, of each fiber
  SyncPoint start_, end_, barriers_[2];
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  void* stacks_ = nullptr;
  size_t capacity_ = 0;
  void* scheduler_ = nullptr;
  int now_ = 0, live_ = 0, atBarrier_ = 0;
};

thread_local Block* Block::running_ = nullptr;

std::atomic<bool> backwards{false};
constexpr int64_t kShared = 163 << 10;  // of a block, as compute capability 8.0 has
std::atomic<int64_t> memoryLimit{INT64_MAX}, allocated{0}, peak{0}, launchesLeft{-1}, toldShared{kShared};
std::atomic<int> devices{1};

void deliver(std::vector<Copy>& copies) {
  for (const Copy& copy : copies) {
    noteWrite(copy.to, sizeof copy.bytes);
    std::memcpy(copy.to, copy.bytes, sizeof copy.bytes);
  }
  copies.clear();
}

}  // namespace

void blockBarrier() { Block::running_->blockBarrier(); }
void warpBarrier() { Block::running_->warpSync(); }
void waitForLanes() { Block::running_->warpBarrier(); }
int lane() { return Block::running_->lane(); }
uint32_t* exchange(const uint32_t* words, int count) { return Block::running_->exchange(words, count); }

void startCopy(void* to, const void* from, bool valid) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || (valid && reinterpret_cast<uintptr_t>(from) % 16 != 0)) {
    emulator::stop("copyAsync16: an address is not aligned to 16 bytes");
  }
  Copy copy{to, {}};
  if (valid) {
    noteRead(from, sizeof copy.bytes);
    std::memcpy(copy.bytes, from, sizeof copy.bytes);
  }
  noteWrite(to, sizeof copy.bytes);
  Block::running_->fiber().open.push_back(copy);
  std::memset(to, 0xFF, sizeof copy.bytes);
}
void commitCopies() {
  Fiber& fiber = Block::running_->fiber();
  fiber.groups.push_back(std::move(fiber.open));
  fiber.open.clear();
}
void waitCopies(int pending) {
  std::vector<std::vector<Copy>>& groups = Block::running_->fiber().groups;
  while (static_cast<int>(groups.size()) > pending) {
    deliver(groups.front());
    groups.erase(groups.begin());
  }
}

void runGrid(dim3 grid, dim3 block, int64_t sharedBytes, const std::function<void()>& kernel) {
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || grid.x > 0x7FFFFFFFu ||
      sharedBytes > kShared) {
    throw GpuError("LETHE_GPU_FAILED", "launching a kernel: invalid configuration argument.");
  }
  if (launchesLeft.load() >= 0 && launchesLeft.fetch_sub(1) == 0) throw GpuError("LETHE_GPU_FAILED", "launching a kernel: an emulated failure.");
  thread_local Block blocks;
  std::vector<uint8_t> shared(static_cast<size_t>(sharedBytes) + 16);
  currentShared = shared.data() + (16 - reinterpret_cast<uintptr_t>(shared.data()) % 16) % 16;
  currentBlockSize = block;
  currentGridSize = grid;
  const int64_t count = static_cast<int64_t>(grid.x) * grid.y * grid.z;
  for (int64_t k = 0; k < count; ++k) {
    const int64_t at = backwards.load() ? count - 1 - k : k;
    currentBlock = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y), static_cast<unsigned>(at / grid.x / grid.y)};
    std::fill(shared.begin(), shared.end(), uint8_t{0xFF});
    blocks.run(block, kernel, backwards.load());
  }
}

namespace {
thread_local std::vector<std::function<void()>>* recording = nullptr;
}

void submit(std::function<void()> work) {
  if (recording) recording->push_back(std::move(work));
  else work();
}
void requireNoRecording(const char* what) {
  if (recording) throw GpuError("LETHE_GPU_FAILED", std::string(what) + " cannot be recorded.");
}
void record(const std::function<void()>& body, std::vector<std::function<void()>>& work) {
  requireNoRecording("a recording");
  recording = &work;
  try {
    body();
  } catch (...) {
    recording = nullptr;
    throw;
  }
  recording = nullptr;
}

void setThreadOrder(bool order) { backwards.store(order); }
void setMemoryLimit(int64_t bytes) { memoryLimit.store(bytes); }
void setDeviceCount(int count) { devices.store(count); }
void tellSharedBytes(int64_t bytes) { toldShared.store(bytes); }
void failAtLaunch(int64_t launch) { launchesLeft.store(launch); }
int64_t allocatedBytes() { return allocated.load(); }
int64_t peakBytes() { return peak.load(); }
void resetPeak() { peak.store(allocated.load()); }

}  // namespace emulator

int64_t mostSharedBytes() { return emulator::toldShared.load(); }
int deviceCount() { return emulator::devices.load(); }
void useDevice(int index) {
  if (index < 0 || index >= deviceCount()) throw GpuError("LETHE_GPU_FAILED", "cudaSetDevice: invalid device ordinal.");
}
int64_t freeDeviceBytes() { return std::min<int64_t>(emulator::memoryLimit.load(), int64_t{1} << 33) - emulator::allocated.load(); }

Recording::Recording(const std::function<void()>& body) { emulator::record(body, work_); }
void Recording::replay() const {
  for (const std::function<void()>& work : work_) emulator::submit(work);
}

constexpr std::align_val_t kAlignment{256};  // cudaMalloc's

DeviceMemory::DeviceMemory(int64_t bytes) : bytes_(bytes) {
  if (bytes <= 0) return;
  emulator::requireNoRecording("an allocation");
  if (emulator::allocated.fetch_add(bytes) + bytes > emulator::memoryLimit.load()) {
    emulator::allocated.fetch_sub(bytes);
    throw GpuError("LETHE_GPU_MEMORY_EXHAUSTED", "allocating " + std::to_string(bytes) + " bytes of GPU memory: out of memory.");
  }
  int64_t before = emulator::peak.load();
  while (before < emulator::allocated.load() && !emulator::peak.compare_exchange_weak(before, emulator::allocated.load())) {
  }
  memory_ = ::operator new(static_cast<size_t>(bytes), kAlignment);  // not a byte more, so that AddressSanitizer sees every overrun
  std::memset(memory_, 0xFF, static_cast<size_t>(bytes));
}
DeviceMemory::~DeviceMemory() {
  if (!memory_) return;
  emulator::allocated.fetch_sub(bytes_);
  ::operator delete(memory_, kAlignment);
}

}  // namespace LETHE_ISA
}  // namespace lethe
