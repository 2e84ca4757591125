#include "lethe/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace lethe {

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
