// Convolution weight gradient, fp32 NHWC with zero borders.
#include "lethe/train_kernels.h"
#include "simd.h"

namespace lethe {
namespace {

void convWeightGradient(const ConvShape& shape, const ImageView& x, const ImageView& dy, float* dWeight, float*) {
  const int64_t run = shape.kernel * shape.inChannels, co = shape.outChannels;
  std::memset(dWeight, 0, static_cast<size_t>(shape.kernel * run * co) * sizeof(float));
  for (int64_t i = 0; i < dy.n; ++i)
    for (int64_t oy = 0; oy < dy.h; ++oy)
      for (int64_t ox = 0; ox < dy.w; ++ox) {
        const float* grad = dy.pixel(i, oy, ox);
        for (int64_t kh = 0; kh < shape.kernel; ++kh) {
          const float* in = x.pixel(i, oy * shape.stride + kh - shape.pad, ox * shape.stride - shape.pad);
          float* out = dWeight + kh * run * co;
          for (int64_t k = 0; k < run; ++k)
            for (int64_t c = 0; c < co; ++c) out[k * co + c] += in[k] * grad[c];
        }
      }
}

}  // namespace

void LETHE_PER_ISA(addConvWeightKernels)(TrainKernels& table) { table.convWeightGradient = convWeightGradient; }

}  // namespace lethe
