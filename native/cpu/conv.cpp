// Convolution forward and input gradient, fp32 NHWC with zero borders.
#include "lethe/train_kernels.h"
#include "simd.h"

namespace lethe {
namespace {

void convForward(const ConvShape& shape, const ImageView& x, const float* weight, const ImageView& y) {
  const int64_t run = shape.kernel * shape.inChannels, co = shape.outChannels;
  for (int64_t i = 0; i < y.n; ++i)
    for (int64_t oy = 0; oy < y.h; ++oy)
      for (int64_t ox = 0; ox < y.w; ++ox) {
        float* out = y.pixel(i, oy, ox);
        for (int64_t c = 0; c < co; ++c) out[c] = 0;
        for (int64_t kh = 0; kh < shape.kernel; ++kh) {
          const float* in = x.pixel(i, oy * shape.stride + kh - shape.pad, ox * shape.stride - shape.pad);
          for (int64_t k = 0; k < run; ++k)
            for (int64_t c = 0; c < co; ++c) out[c] += in[k] * weight[(kh * run + k) * co + c];
        }
      }
}

void convInputGradient(const ConvShape& shape, const ImageView& dy, const float* weight, const ImageView& dx, float* scratch) {
  const int64_t kernel = shape.kernel, ci = shape.inChannels, co = shape.outChannels;
  for (int64_t tap = 0; tap < kernel * kernel; ++tap)
    for (int64_t a = 0; a < ci; ++a)
      for (int64_t b = 0; b < co; ++b) scratch[(tap * co + b) * ci + a] = weight[(tap * ci + a) * co + b];
  for (int64_t i = 0; i < dx.n; ++i)
    for (int64_t iy = 0; iy < dx.h; ++iy)
      for (int64_t ix = 0; ix < dx.w; ++ix) {
        float* out = dx.pixel(i, iy, ix);
        for (int64_t a = 0; a < ci; ++a) out[a] = 0;
        for (int64_t kh = 0; kh < kernel; ++kh)
          for (int64_t kw = 0; kw < kernel; ++kw) {
            const int64_t sy = iy + shape.pad - kh, sx = ix + shape.pad - kw;
            if (sy < 0 || sx < 0 || sy % shape.stride || sx % shape.stride) continue;
            if (sy / shape.stride >= dy.h || sx / shape.stride >= dy.w) continue;
            const float* in = dy.pixel(i, sy / shape.stride, sx / shape.stride);
            const float* taps = scratch + (kh * kernel + kw) * co * ci;
            for (int64_t b = 0; b < co; ++b)
              for (int64_t a = 0; a < ci; ++a) out[a] += in[b] * taps[b * ci + a];
          }
      }
}

int64_t convScratchFloats(const ConvShape& shape) { return shape.kernel * shape.kernel * shape.inChannels * shape.outChannels; }

}  // namespace

void LETHE_PER_ISA(addConvKernels)(TrainKernels& table) {
  table.convForward = convForward;
  table.convInputGradient = convInputGradient;
  table.convScratchFloats = convScratchFloats;
}

}  // namespace lethe
