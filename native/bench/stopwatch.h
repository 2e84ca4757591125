// CPU time of the calling thread, and samples of how long a piece of work takes.
#pragma once
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace lethe {

inline double threadSeconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Seconds of one call in `trials` samples, ascending; a sample repeats the work until it lasts 10 ms, so that the clock does not matter.
inline std::vector<double> sampleSeconds(const std::function<void()>& work, int trials = 5) {
  constexpr double kLeast = 0.01;
  std::vector<double> samples;
  int64_t calls = 1;
  while (static_cast<int>(samples.size()) < trials) {
    const double from = threadSeconds();
    for (int64_t call = 0; call < calls; ++call) work();
    const double taken = threadSeconds() - from;
    if (taken < kLeast) calls *= 2;  // also the warm-up
    else samples.push_back(taken / static_cast<double>(calls));
  }
  std::sort(samples.begin(), samples.end());
  return samples;
}

}  // namespace lethe
