// What convolutions of both precisions have in common: the product they end in, and the walk of its tiles over the pixels.
#pragma once
#include <cstdint>

namespace lethe {
namespace {

// y[pixel, c] = sum over taps and k < run of in[pixel + tap * tapStep + k] * weight[tap, k, c].
template <typename Value, typename Weight>
struct ProductOf {
  const Value* in;  // of output pixel (0, 0, 0)
  int64_t inImage, inRow, inPixel, tapStep;  // strides; the first three per step of the output
  Value* out;
  int64_t outImage, outRow, outPixel;
  int64_t h, w;  // of the output
  const Weight* weight;
  int64_t taps, run, channels;
};

// Images that are worked on together: as many as make kGroupPixels outputs, while their inputs, `most` values, stay in L2.
inline __attribute__((always_inline)) int64_t groupSize(int64_t pixels, int64_t inImage, int64_t most) {
  constexpr int64_t kGroupPixels = 256;  // that share a visit of the weights in L1
  const int64_t wanted = kGroupPixels / pixels, fitting = most / (inImage + 1), images = wanted < fitting ? wanted : fitting;
  return images < 1 ? 1 : images;
}

// Calls visit(ins, outs) for tiles of Groups pointers to Size neighbours of a row each, at `channel` of the outputs, over all pixels of
// images [first, last). job.w is a multiple of Size. A last short tile repeats its last group.
template <int Groups, int Size, typename Value, typename Weight, typename Visit>
inline __attribute__((always_inline)) void eachTile(const ProductOf<Value, Weight>& job, int64_t first, int64_t last, int64_t channel, Visit visit) {
  int64_t image = first, row = 0, column = 0;
  const Value* in = job.in + first * job.inImage;
  Value* out = job.out + first * job.outImage + channel;
  const Value* ins[Groups];
  Value* outs[Groups];
  while (image < last) {
    for (int g = 0; g < Groups; ++g) {
      ins[g] = in;
      outs[g] = out;
      if (image == last) continue;
      column += Size;
      if (column < job.w) {
        in += Size * job.inPixel;
        out += Size * job.outPixel;
        continue;
      }
      column = 0;
      if (++row == job.h) row = 0, ++image;
      if (image == last) continue;
      in = job.in + image * job.inImage + row * job.inRow;
      out = job.out + image * job.outImage + row * job.outRow + channel;
    }
    visit(ins, outs);
  }
}

}  // namespace
}  // namespace lethe
