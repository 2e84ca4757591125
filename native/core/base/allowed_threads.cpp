// How many processors this process may use: affinity, control groups, the scheduler's word.
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "lethe/base/parallel.h"

namespace lethe {

namespace {

// The quota of one group in processors; 0 when it has none.
double quotaOf(const std::string& group, bool second) {
  double quota = 0, period = 0;
  if (second) {
    std::ifstream(group + "/cpu.max") >> quota >> period;  // "max 100000" gives no numbers
  } else {
    std::ifstream(group + "/cpu.cfs_quota_us") >> quota;  // -1: none
    std::ifstream(group + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

// The least quota of a group below `mount` and all groups above it. In a container the path may be the host's: what is not there is passed over.
double leastQuota(const std::string& mount, std::string path, bool second) {
  double least = 0;
  if (path.find("/..") != std::string::npos) path.clear();
  while (!path.empty() && path.back() == '/') path.pop_back();
  for (;;) {
    const double quota = quotaOf(mount + path, second);
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
    if (path.empty()) return least;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

bool hasCpu(const std::string& controllers) { return ("," + controllers + ",").find(",cpu,") != std::string::npos; }

}  // namespace

double cpuQuota(const std::string& root) {
  const std::string groups = root + "/sys/fs/cgroup";
  std::ifstream file(root + "/proc/self/cgroup");
  double least = 0;
  for (std::string line; std::getline(file, line);) {  // "4:cpu,cpuacct:/path", "0::/path"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    double quota = 0;
    if (controllers.empty()) {
      quota = leastQuota(groups, path, true);
    } else if (hasCpu(controllers)) {
      for (const std::string& name : {std::string("cpu"), controllers}) {
        if (quota == 0) quota = leastQuota(groups + "/" + name, path, false);
      }
    }
    if (quota > 0 && (least == 0 || quota < least)) least = quota;
  }
  return least;
}

int allowedThreads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int count = 0;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
  if (count <= 0) count = static_cast<int>(std::thread::hardware_concurrency());
  const double quota = cpuQuota("");
  if (quota > 0) count = std::min(count, static_cast<int>(std::ceil(quota)));
  const char* scheduled = std::getenv("SLURM_CPUS_PER_TASK");
  const int cpus = scheduled ? std::atoi(scheduled) : 0;
  if (cpus > 0) count = std::min(count, cpus);
  return std::max(count, 1);
}

}  // namespace lethe
