// The work queue: every index once, and exceptions of any worker reach the caller.
#include "lethe/parallel.h"

#include <atomic>
#include <stdexcept>
#include <vector>

#include "check.h"

using namespace lethe;
using namespace lethe::test;

int main() {
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
