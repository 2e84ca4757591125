// BatchNorm statistics, its affine map with ReLU, and its backward pass.
#include "lethe/train_kernels.h"
#include "simd.h"

namespace lethe {
namespace {

void batchNormStatistics(const ImageView& x, float* mean, float* variance) {
  const double count = static_cast<double>(x.n * x.h * x.w);
  for (int64_t c = 0; c < x.c; ++c) {
    double sum = 0, square = 0;
    for (int64_t i = 0; i < x.n; ++i)
      for (int64_t py = 0; py < x.h; ++py)
        for (int64_t px = 0; px < x.w; ++px) sum += x.pixel(i, py, px)[c];
    sum /= count;
    for (int64_t i = 0; i < x.n; ++i)
      for (int64_t py = 0; py < x.h; ++py)
        for (int64_t px = 0; px < x.w; ++px) {
          const double d = x.pixel(i, py, px)[c] - sum;
          square += d * d;
        }
    mean[c] = static_cast<float>(sum);
    variance[c] = static_cast<float>(square / count);
  }
}

void affine(const ImageView& x, const float* scale, const float* shift, bool relu, const ImageView& y) {
  for (int64_t i = 0; i < x.n; ++i)
    for (int64_t py = 0; py < x.h; ++py)
      for (int64_t px = 0; px < x.w; ++px) {
        const float* in = x.pixel(i, py, px);
        float* out = y.pixel(i, py, px);
        for (int64_t c = 0; c < x.c; ++c) {
          const float value = in[c] * scale[c] + shift[c];
          out[c] = relu && value < 0 ? 0 : value;
        }
      }
}

void batchNormBackward(const ImageView& x, const ImageView& dy, const float* mean, const float* inverseStd, const float* gamma,
                       const float* beta, bool relu, bool batchStatistics, float* dGamma, float* dBeta, const ImageView& dx) {
  const double count = static_cast<double>(x.n * x.h * x.w);
  for (int64_t c = 0; c < x.c; ++c) {
    double sum = 0, product = 0;
    for (int64_t i = 0; i < x.n; ++i)
      for (int64_t py = 0; py < x.h; ++py)
        for (int64_t px = 0; px < x.w; ++px) {
          const float normal = (x.pixel(i, py, px)[c] - mean[c]) * inverseStd[c];
          const float grad = relu && gamma[c] * normal + beta[c] <= 0 ? 0 : dy.pixel(i, py, px)[c];
          sum += grad;
          product += static_cast<double>(grad) * normal;
        }
    dBeta[c] = static_cast<float>(sum);
    dGamma[c] = static_cast<float>(product);
    const float a = batchStatistics ? static_cast<float>(sum / count) : 0, b = batchStatistics ? static_cast<float>(product / count) : 0;
    for (int64_t i = 0; i < x.n; ++i)
      for (int64_t py = 0; py < x.h; ++py)
        for (int64_t px = 0; px < x.w; ++px) {
          const float normal = (x.pixel(i, py, px)[c] - mean[c]) * inverseStd[c];
          const float grad = relu && gamma[c] * normal + beta[c] <= 0 ? 0 : dy.pixel(i, py, px)[c];
          dx.pixel(i, py, px)[c] = gamma[c] * inverseStd[c] * (grad - a - normal * b);
        }
  }
}

}  // namespace

void LETHE_PER_ISA(addBatchNormKernels)(TrainKernels& table) {
  table.batchNormStatistics = batchNormStatistics;
  table.affine = affine;
  table.batchNormBackward = batchNormBackward;
}

}  // namespace lethe
