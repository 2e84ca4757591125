// A work queue over independent items: `threads` workers take the next index until none is left.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace lethe {

// Processors that control groups allow, the least of this process's group and all above it, of both versions; 0: no limit.
// `root` is what stands before /proc and /sys.
double cpuQuota(const std::string& root);

// Processors this process may use, at least 1: affinity, cpuQuota and SLURM_CPUS_PER_TASK respected.
int allowedThreads();

// Calls body(index, worker) for index in [0, count); at most `threads` at once (0: allowedThreads()), fewer where the system gives no more
// threads. Returns when all are done. Where body throws, no further index is begun, and the first exception is thrown again.
// Determinism: which worker runs an index is unspecified, so results must depend on the index only.
void parallelFor(int64_t count, int threads, const std::function<void(int64_t index, int worker)>& body);

}  // namespace lethe
