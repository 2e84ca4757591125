// The rate of byte dot products between tile registers: what kernels of this folder are measured against.
#include <time.h>

#include "cpu/amx/tiles.h"

namespace lethe {
namespace {

// CPU time of this thread: a busy neighbour does not count.
double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

// Best of 7, since interference only slows down. Six chains hide the latency of a dot product.
double amxInt8Peak() {
  constexpr int64_t kLoops = 100000, kChains = 6;
  TileUnit unit{TileConfig()};
  double best = 0;
  for (int repeat = 0; repeat < 7; ++repeat) {
    const double start = seconds();
    for (int64_t k = 0; k < kLoops; ++k) {
      unit.dotUnsigned<0, 6, 7>();
      unit.dotUnsigned<1, 6, 7>();
      unit.dotUnsigned<2, 6, 7>();
      unit.dotUnsigned<3, 6, 7>();
      unit.dotUnsigned<4, 6, 7>();
      unit.dotUnsigned<5, 6, 7>();
    }
    const double rate = 2.0 * kTileRows * 16 * kTileRowBytes * kLoops * kChains / (seconds() - start) * 1e-12;
    best = rate > best ? rate : best;
  }
  return best;
}

}  // namespace lethe
