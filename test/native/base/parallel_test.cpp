// The work queue: every index once, with the threads that the system gives, and exceptions of any worker reach the caller.
#include "lethe/base/parallel.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>
#include <vector>

#include "base/check.h"

using namespace lethe;
using namespace lethe::test;

// What the system still gives.
static std::atomic<int> threadsLeft{1 << 20};

extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                                                                     void* argument) noexcept {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const Create create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  return threadsLeft.fetch_sub(1) > 0 ? create(thread, attributes, start, argument) : EAGAIN;
}

int main() {
  for (const int given : {0, 1, 3}) {
    threadsLeft = given;
    std::vector<std::atomic<int>> calls(1000);
    std::atomic<int> most{0};
    parallelFor(1000, 7, [&](int64_t index, int worker) {
      ++calls[static_cast<size_t>(index)];
      for (int seen = most; seen < worker && !most.compare_exchange_weak(seen, worker);) {
      }
    });
    const bool refused = threadsLeft < 0;
    threadsLeft = 1 << 20;
    bool once = true;
    for (const std::atomic<int>& count : calls) once = once && count == 1;
    expect(refused && once && most <= given, "every index once with " + std::to_string(given) + " of 6 more threads");
  }
  for (const int threads : {1, 2, 7}) {
    const std::string what = std::to_string(threads) + " threads";
    std::vector<std::atomic<int>> calls(1000);
    parallelFor(1000, threads, [&](int64_t index, int worker) {
      if (worker >= 0 && worker < threads) ++calls[static_cast<size_t>(index)];
    });
    bool once = true;
    for (const std::atomic<int>& count : calls) once = once && count == 1;
    expect(once, "every index once, " + what);
    std::atomic<int> begun{0};
    std::string caught;
    try {
      parallelFor(100000, threads, [&](int64_t index, int) {
        ++begun;
        if (index >= 3) throw std::runtime_error("index failed");
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    expect(caught == "index failed", "an exception of a worker is thrown again, " + what);
    expect(begun <= 3 + threads, "no index is begun after a failure, " + what + ": " + std::to_string(begun));
  }
  return finish();
}
