#include "lethe/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace lethe {

namespace {

// cgroup v2 quota in processors; 0 when unlimited or unknown
double cgroupQuota() {
  std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r");
  if (!file) return 0;
  double quota = 0, period = 0;
  const int fields = std::fscanf(file, "%lf %lf", &quota, &period);  // "max 100000" gives 0 fields
  std::fclose(file);
  return fields == 2 && period > 0 ? quota / period : 0;
}

}  // namespace

int allowedThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = 0;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
  if (count <= 0) count = static_cast<int>(std::thread::hardware_concurrency());
  const double quota = cgroupQuota();
  if (quota > 0) count = std::min(count, static_cast<int>(std::ceil(quota)));
  return std::max(count, 1);
}

void parallelFor(int64_t count, int threads, const std::function<void(int64_t, int)>& body) {
  const int64_t wanted = threads > 0 ? threads : allowedThreads();
  const int workers = static_cast<int>(std::min<int64_t>(wanted, count));
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;  // the first
  std::mutex failing;
  auto run = [&](int worker) {
    try {
      for (int64_t index = next.fetch_add(1); index < count; index = next.fetch_add(1)) body(index, worker);
    } catch (...) {
      next = count;
      const std::lock_guard<std::mutex> one(failing);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(static_cast<size_t>(std::max(workers - 1, 0)));
  try {
    for (int worker = 1; worker < workers; ++worker) pool.emplace_back(run, worker);
  } catch (const std::system_error&) {
    // the system gives no more threads: those there are do it all
  }
  if (workers > 0) run(0);
  for (std::thread& thread : pool) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace lethe
