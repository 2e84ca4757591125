#include "lethe/base/limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>

namespace lethe {

namespace {

// "" where there is none
std::string limit(__rlimit_resource_t resource, const char* what) {
  rlimit values{};
  if (getrlimit(resource, &values) != 0 || values.rlim_cur == RLIM_INFINITY) return "";
  return std::to_string(values.rlim_cur) + what;
}

std::string joined(const std::string& first, const std::string& second) { return first.empty() || second.empty() ? first + second : first + " and " + second; }

}  // namespace

std::string memoryLimits() {
  const std::string machine = std::to_string(static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE)) + " bytes of memory (this machine)";
  const std::string own = joined(limit(RLIMIT_AS, " bytes of address space (ulimit -v)"), limit(RLIMIT_DATA, " bytes of data (ulimit -d)"));
  return "The limit is " + (own.empty() ? machine : own) + ".";
}

Status memoryExhausted(const std::string& what) {
  return Status::error("LETHE_MEMORY_EXHAUSTED",
                       what + " did not fit into memory. " + memoryLimits() + " Use fewer threads, do less at once, or raise the limit.");
}

Status threadsExhausted(const std::string& reason) {
  const std::string own =
      joined(limit(RLIMIT_NPROC, " processes and threads of the user (ulimit -u)"), limit(RLIMIT_AS, " bytes of address space (ulimit -v)"));
  return Status::error("LETHE_THREADS_EXHAUSTED", "expected a thread for the call; received \"" + reason + "\". The limit is " +
                                                      (own.empty() ? "" : own + " and ") + "pids.max of the control group. Raise it, or end other processes.");
}

}  // namespace lethe
