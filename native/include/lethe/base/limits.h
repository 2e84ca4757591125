// Errors of a process that got no more memory or threads: they name the limits it runs under.
#pragma once
#include <string>

#include "lethe/base/status.h"

namespace lethe {

std::string memoryLimits();  // a sentence

// LETHE_MEMORY_EXHAUSTED. what: e.g. "the buffers of 8 models"
Status memoryExhausted(const std::string& what);

// LETHE_THREADS_EXHAUSTED: not even one thread for a call. reason: the system's words.
Status threadsExhausted(const std::string& reason);

}  // namespace lethe
