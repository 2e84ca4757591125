// The rate of byte dot products between tile registers: what kernels of this folder are measured against.
#include <time.h>

#include "cpu/base/amx/tiles.h"

namespace lethe {
namespace {

// CPU time of this thread: a busy neighbour does not count.
double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Operations a second of six chains of dot products, which hide their latency. Best of 7, since interference only slows down.
template <typename Dots>
inline __attribute__((always_inline)) double bestRate(double operationsPerDot, Dots dots) {
  constexpr int64_t kLoops = 100000;
  double best = 0;
  for (int repeat = 0; repeat < 7; ++repeat) {
    const double start = seconds();
    for (int64_t k = 0; k < kLoops; ++k) dots();
    const double rate = 6.0 * kLoops * operationsPerDot / (seconds() - start);
    best = rate > best ? rate : best;
  }
  return best;
}

}  // namespace

double amxInt8Peak() {
  TileUnit unit{TileConfig()};
  return 1e-12 * bestRate(2.0 * kTileRows * 16 * kTileRowBytes, [&] {
           unit.dotUnsigned<0, 6, 7>();
           unit.dotUnsigned<1, 6, 7>();
           unit.dotUnsigned<2, 6, 7>();
           unit.dotUnsigned<3, 6, 7>();
           unit.dotUnsigned<4, 6, 7>();
           unit.dotUnsigned<5, 6, 7>();
         });
}

double amxBf16Peak() {
  TileUnit unit{TileConfig()};
  unit.zero<6>();
  unit.zero<7>();
  return 1e-9 * bestRate(2.0 * kTileRows * 16 * kTileRowBytes / 2, [&] {
           unit.dotBf16<0, 6, 7>();
           unit.dotBf16<1, 6, 7>();
           unit.dotBf16<2, 6, 7>();
           unit.dotBf16<3, 6, 7>();
           unit.dotBf16<4, 6, 7>();
           unit.dotBf16<5, 6, 7>();
         });
}

}  // namespace lethe
