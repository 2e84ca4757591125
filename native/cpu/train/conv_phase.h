// The input gradient of a strided convolution as convolutions of stride 1, one for each position of an input within the stride.
#pragma once
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

// One axis of the inputs whose gradients see the same taps: position phase + stride * a reads dy[a + start + j] with tap
// first + stride * (taps - 1 - j), for j in [0, taps).
struct Phase {
  int64_t phase, first, taps, start, count;
  Phase(const ConvShape& s, int64_t at, int64_t size)
      : phase(at),
        first((at + s.pad) % s.stride),
        taps(first < s.kernel ? (s.kernel - first + s.stride - 1) / s.stride : 0),
        start((at + s.pad - first) / s.stride - taps + 1),
        count((size - at + s.stride - 1) / s.stride) {}
};

}  // namespace
}  // namespace lethe
