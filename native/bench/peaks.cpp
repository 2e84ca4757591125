#include "lethe/bench/peaks.h"

#include <unistd.h>

#include <vector>

#include "bench/stopwatch.h"
#include "core/base/isa_table.h"
#include "lethe/bench/amx_peak.h"

namespace lethe {

LETHE_DECLARE_LEVELS(PeakKernels, peakKernels)
#if defined(__x86_64__)
PeakKernels peakKernels_avx512bf16();
#define LETHE_LEVELS_ABOVE \
  , { Isa::avx512bf16, peakKernels_avx512bf16 }
#else
#define LETHE_LEVELS_ABOVE
#endif

namespace {

const PeakKernels& kernelsOf(Isa isa) {
  static IsaTables<PeakKernels> tables({LETHE_LEVELS_OF(peakKernels) LETHE_LEVELS_ABOVE});
  return tables.of(isa);
}

double fastest(const std::function<void()>& work) { return sampleSeconds(work).front(); }

// Bytes a nanosecond of copying between two buffers of this size.
double copyRate(const PeakKernels& kernels, size_t bytes) {
  const size_t count = bytes / sizeof(float) / 64 * 64;
  std::vector<float> from(count, 1.0f), to(count, 2.0f);
  volatile float seen = 0;
  const double seconds = fastest([&] {
    kernels.copy(from.data(), to.data(), static_cast<int64_t>(count));
    seen = to[count / 2];
  });
  return static_cast<double>(count * sizeof(float)) / seconds * 1e-9;
}

size_t secondLevelCache() {
  constexpr size_t kUnknown = 512 << 10;
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return static_cast<size_t>(bytes);
#endif
  return kUnknown;
}

}  // namespace

Peaks measurePeaks(Isa isa) {
  const PeakKernels kernels = kernelsOf(isa);
  constexpr int64_t kLoops = 100000, kWords = 1024;
  constexpr size_t kLarge = 64 << 20;
  Peaks peaks;
  volatile float kept = 0;
  const double multiplyAdd = fastest([&] { kept = kernels.multiplyAdd(kLoops, 0.999f, 1e-3f); });
  peaks.fmaGflops = static_cast<double>(kLoops * kernels.operationsPerLoop) / multiplyAdd * 1e-9;
  if (kernels.dotBf16) {
    const double dot = fastest([&] { kept = kernels.dotBf16(kLoops); });
    peaks.dotBf16Gflops = static_cast<double>(2 * kLoops * kernels.operationsPerLoop) / dot * 1e-9;
  }
  std::vector<uint64_t> a(kWords), b(kWords);
  for (int64_t i = 0; i < kWords; ++i) {
    a[i] = static_cast<uint64_t>(i + 1) * 0x9E3779B97F4A7C15ull;
    b[i] = static_cast<uint64_t>(i + 1) * 0xC2B2AE3D27D4EB4Full;
  }
  volatile int64_t counted = 0;
  if (isa == Isa::amx) {
    peaks.amxInt8Tops = measureAmxInt8Peak();
    peaks.amxBf16Gflops = measureAmxBf16Peak();
  }
  peaks.popcountGwords = static_cast<double>(kWords) / fastest([&] { counted = kernels.popcount(a.data(), b.data(), kWords); }) * 1e-9;
  peaks.copyGbytes = copyRate(kernels, kLarge);
  peaks.copyCachedGbytes = copyRate(kernels, secondLevelCache() / 4);
  return peaks;
}

const char* compilerName() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace lethe
