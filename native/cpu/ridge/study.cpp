// Kernels of the linear study: several rows against kStepLanes parameter vectors at once, double precision. Step sizes are the lanes:
// they share every row, so a row is loaded once for all of them and no sum runs across a vector.
#include "lethe/ridge/study.h"

#include "cpu/base/simd.h"

namespace lethe {
namespace {

constexpr int kDoubles = LETHE_VECTOR_BYTES / 8;
constexpr int kVectors = kStepLanes / kDoubles;
constexpr int kTile = LETHE_VECTOR_BYTES == 16 ? 2 : 5;  // rows whose sums fit the registers; 5 is the paper's batch
typedef double Doubles __attribute__((vector_size(LETHE_VECTOR_BYTES)));
typedef double DoublesUnaligned __attribute__((vector_size(LETHE_VECTOR_BYTES), aligned(8), may_alias));

inline __attribute__((always_inline)) Doubles loadDoubles(const double* from) { return *reinterpret_cast<const DoublesUnaligned*>(from); }
inline __attribute__((always_inline)) void storeDoubles(double* to, Doubles value) { *reinterpret_cast<DoublesUnaligned*>(to) = value; }

// `fn` for every tile of rows with the number of rows as a constant.
template <template <int> class Fn, typename... Args>
inline __attribute__((always_inline)) void byTiles(int64_t numRows, Args... args) {
  int64_t row = 0;
  for (; row + kTile <= numRows; row += kTile) Fn<kTile>::run(row, args...);
  if constexpr (kTile > 2) {
    switch (numRows - row) {
      case 4: Fn<4>::run(row, args...); return;
      case 3: Fn<3>::run(row, args...); return;
      case 2: Fn<2>::run(row, args...); return;
      default: break;
    }
  }
  if (row < numRows) Fn<1>::run(row, args...);
}

template <int Rows>
struct Project {
  static inline __attribute__((always_inline)) void run(int64_t first, const double* const* rows, int64_t dim, const double* theta, double* out) {
    Doubles sum[Rows][kVectors] = {};
    const double* row[Rows];
    for (int r = 0; r < Rows; ++r) row[r] = rows[first + r];
    for (int64_t j = 0; j < dim; ++j) {
      Doubles value[kVectors];
      for (int v = 0; v < kVectors; ++v) value[v] = loadDoubles(theta + j * kStepLanes + v * kDoubles);
      for (int r = 0; r < Rows; ++r) {
        for (int v = 0; v < kVectors; ++v) sum[r][v] += row[r][j] * value[v];
      }
    }
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < kVectors; ++v) storeDoubles(out + (first + r) * kStepLanes + v * kDoubles, sum[r][v]);
    }
  }
};

template <int Rows>
struct Descend {
  static inline __attribute__((always_inline)) void run(int64_t first, const double* const* rows, int64_t dim, const double* shrink, const double* coefficient,
                                                        double* theta) {
    Doubles factor[Rows][kVectors], keep[kVectors];
    const double* row[Rows];
    for (int v = 0; v < kVectors; ++v) keep[v] = first == 0 ? loadDoubles(shrink + v * kDoubles) : Doubles{} + 1.0;
    for (int r = 0; r < Rows; ++r) {
      row[r] = rows[first + r];
      for (int v = 0; v < kVectors; ++v) factor[r][v] = loadDoubles(coefficient + (first + r) * kStepLanes + v * kDoubles);
    }
    for (int64_t j = 0; j < dim; ++j) {
      for (int v = 0; v < kVectors; ++v) {
        double* at = theta + j * kStepLanes + v * kDoubles;
        Doubles value = keep[v] * loadDoubles(at);
        for (int r = 0; r < Rows; ++r) value -= row[r][j] * factor[r][v];
        storeDoubles(at, value);
      }
    }
  }
};

void project(const double* const* rows, int64_t numRows, int64_t dim, const double* theta, double* out) { byTiles<Project>(numRows, rows, dim, theta, out); }

void descend(const double* const* rows, int64_t numRows, int64_t dim, const double* shrink, const double* coefficient, double* theta) {
  byTiles<Descend>(numRows, rows, dim, shrink, coefficient, theta);
}

}  // namespace

RidgeKernels LETHE_PER_ISA(ridgeKernels)() { return {project, descend}; }

}  // namespace lethe
