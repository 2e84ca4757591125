// Limits of processors: groups of both versions, nested ones, and what containers show of them.
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "base/check.h"
#include "lethe/base/parallel.h"

using namespace lethe;
using namespace lethe::test;

namespace {

std::string fresh() {
  char name[] = "/tmp/lethe-groups-XXXXXX";
  return mkdtemp(name);
}

// Writes a file and the folders above it.
void put(const std::string& root, const std::string& file, const std::string& text) {
  for (size_t at = file.find('/', 1); at != std::string::npos; at = file.find('/', at + 1)) mkdir((root + file.substr(0, at)).c_str(), 0700);
  std::ofstream(root + file) << text;
}

void expectQuota(double expected, const std::string& root, const std::string& what) {
  const double found = cpuQuota(root);
  expect(found == expected, what + ": " + std::to_string(found));
}

}  // namespace

int main() {
  const std::string groups = "/sys/fs/cgroup";
  const std::string second = fresh();
  expectQuota(0, second, "no groups at all");
  put(second, "/proc/self/cgroup", "0::/job/step/task\n");
  put(second, groups + "/job/step/task/cpu.max", "max 100000\n");
  expectQuota(0, second, "version 2 without a limit");
  put(second, groups + "/job/cpu.max", "150000 100000\n");
  expectQuota(1.5, second, "version 2, of a group above");
  put(second, groups + "/job/step/cpu.max", "50000 100000\n");
  expectQuota(0.5, second, "version 2, the least");

  const std::string hidden = fresh();
  put(hidden, "/proc/self/cgroup", "0::/../../elsewhere\n");
  put(hidden, groups + "/cpu.max", "200000 100000\n");
  expectQuota(2, hidden, "a container that sees its own group only");

  for (const std::string mount : {"cpu", "cpu,cpuacct"}) {
    const std::string first = fresh();
    put(first, "/proc/self/cgroup", "5:cpuset:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/docker/a\n");
    put(first, groups + "/" + mount + "/cpu.cfs_quota_us", "300000\n");
    put(first, groups + "/" + mount + "/cpu.cfs_period_us", "100000\n");
    expectQuota(3, first, "version 1 at " + mount + ", path of the host");
    put(first, groups + "/" + mount + "/docker/a/cpu.cfs_quota_us", "-1\n");
    put(first, groups + "/" + mount + "/docker/a/cpu.cfs_period_us", "100000\n");
    expectQuota(3, first, "version 1 at " + mount + ", unlimited below");
  }

  unsetenv("SLURM_CPUS_PER_TASK");
  const int here = allowedThreads();
  expect(here >= 1, "at least one processor");
  setenv("SLURM_CPUS_PER_TASK", "1", 1);
  expect(allowedThreads() == 1, "the scheduler's word");
  setenv("SLURM_CPUS_PER_TASK", "100000", 1);
  expect(allowedThreads() == here, "never more than there are");
  for (const char* nothing : {"", "0", "many"}) {
    setenv("SLURM_CPUS_PER_TASK", nothing, 1);
    expect(allowedThreads() == here, "no number of processors: " + std::string(nothing));
  }
  return finish();
}
