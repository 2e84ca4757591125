// The training backend contract: per instruction set, and for the GPU, one table of NHWC kernels for fp32 images and one for bf16 images.
// Kernels check nothing (the driver in core/ has) and write only inside the stated shapes. Sums over pixels are in a fixed order. On a CPU
// they run on the calling thread and allocate nothing; on a GPU they go to the calling thread's stream and all pointers are the device's.
#pragma once
#include <cstdint>

#include "lethe/base/bf16.h"
#include "lethe/base/isa.h"

namespace lethe {

// Activations carry a zero border so that convolutions need no im2col and no edge cases.
// data: (n, h + 2*border, w + 2*border, c) row-major; pixel (i, y, x) of the image sits at [i, y + border, x + border].
template <typename Value>
struct ImageOf {
  Value* data = nullptr;
  int64_t n = 0, h = 0, w = 0, c = 0, border = 0;

  LETHE_ALWAYS_INLINE int64_t rowStride() const { return (w + 2 * border) * c; }
  LETHE_ALWAYS_INLINE int64_t imageStride() const { return (h + 2 * border) * rowStride(); }
  LETHE_ALWAYS_INLINE int64_t size() const { return n * imageStride(); }
  LETHE_ALWAYS_INLINE Value* pixel(int64_t image, int64_t y, int64_t x) const {
    return data + image * imageStride() + (y + border) * rowStride() + (x + border) * c;
  }
};
using ImageView = ImageOf<float>;

// How images and their gradients are stored. Parameters, statistics, vectors behind a global pool and all sums are fp32 in both.
enum class Precision { fp32, bf16 };

// Square kernels. Output size is (h + 2*pad - kernel) / stride + 1.
struct ConvShape {
  int64_t inChannels = 0, outChannels = 0, kernel = 0, stride = 1, pad = 0;
};

// Square windows, size <= 16 and 2 * pad <= size: every window holds pixels of the image. Output size is (h + 2*pad - size) / stride + 1.
struct PoolShape {
  int64_t size = 0, stride = 0, pad = 0;
};

// A crop of a padded image, then a flip: pixel (y, x) of the result is pixel (y + down, (flip ? w - 1 - x : x) + right) of the image, and
// outside the image zero after normalisation, which is the mean colour.
struct ImagePlacement {
  int32_t down = 0, right = 0;
  bool flip = false;
};

// One loss covers every objective of the method: per example with logits z (classes), label y, targets t (classes),
//   crossEntropy * CE_{labelSmoothing}(z, y) + matchLogits * mean_c (z_c - t_c)^2 + distill * T^2 * KL(softmax(t / T) || softmax(z / T)).
// Negative weights ascend (gradient ascent, SCRUB's forget pass). The step's loss is the mean over the batch.
struct LossWeights {
  float crossEntropy = 0, labelSmoothing = 0, matchLogits = 0, distill = 0, temperature = 1;
  bool operator==(const LossWeights&) const = default;
};

// Value: float or Bf16. On bf16 images, products of a convolution are of bf16 pairs with fp32 sums, weights are rounded to bf16 first, and
// every result is rounded once.
template <typename Value>
struct ImageKernels {
  using View = ImageOf<Value>;

  // x.border >= pad. weight: (kernel, kernel, inChannels, outChannels) row-major. Writes the interior of y only.
  // scratch, here and below: convScratchFloats(shape, x.h, x.w) floats.
  void (*convForward)(const ConvShape&, const View& x, const float* weight, const View& y, float* scratch);
  // dy.border >= kernel - 1 - pad and zero. Writes the interior of dx (overwrites).
  void (*convInputGradient)(const ConvShape&, const View& dy, const float* weight, const View& dx, float* scratch);
  // Overwrites dWeight (kernel, kernel, inChannels, outChannels).
  void (*convWeightGradient)(const ConvShape&, const View& x, const View& dy, float* dWeight, float* scratch);
  int64_t (*convScratchFloats)(const ConvShape&, int64_t height, int64_t width);  // of the input

  // Batch statistics over n*h*w of x, biased variance, without E[x^2] - mean^2 in fp32. mean, variance: (c).
  void (*batchNormStatistics)(const View& x, float* mean, float* variance);
  // y = scale * x + shift per channel, optionally followed by ReLU. Interior only; y may be x.
  void (*affine)(const View& x, const float* scale, const float* shift, bool relu, const View& y);
  // Backward of y = relu?(gamma * (x - mean) * inverseStd + beta), the ReLU mask recomputed from x.
  // Overwrites dGamma, dBeta (c) and the interior of dx, which may be x or dy.
  // batchStatistics: false treats mean and inverseStd as constants (eval mode).
  void (*batchNormBackward)(const View& x, const View& dy, const float* mean, const float* inverseStd, const float* gamma, const float* beta, bool relu,
                            bool batchStatistics, float* dGamma, float* dBeta, const View& dx);

  void (*relu)(const View& x, const View& y);
  void (*reluBackward)(const View& y, const View& dy, const View& dx);  // mask from the output y; dx may be dy
  void (*add)(const View& a, const View& b, const View& y);  // y may be a or b
  void (*addRelu)(const View& a, const View& b, const View& y);  // y = relu(a + b)
  // Padding never wins, NaN does. argmax: (n, y.h, y.w, c), index ky * size + kx in the window, first maximum wins.
  void (*maxPool)(const PoolShape&, const View& x, const View& y, uint8_t* argmax);
  // Overwrites the interior of dx: each pixel takes the gradients of all windows that chose it.
  void (*maxPoolBackward)(const PoolShape&, const View& dy, const uint8_t* argmax, const View& dx);
  // y: (n, c). argmax: (n, c), index y * w + x, first maximum wins; NaN wins over numbers.
  void (*globalMaxPool)(const View& x, float* y, int32_t* argmax);
  void (*globalMaxPoolBackward)(const float* dy, const int32_t* argmax, const View& dx);  // overwrites dx interior
  void (*globalAveragePool)(const View& x, float* y);
  void (*globalAveragePoolBackward)(const float* dy, const View& dx);

  // y interior [i] = (pixels[index[i]] / 255 - mean) / std per channel. pixels: (N, h, w, c) uint8 row-major; index: (y.n).
  // placements: (y.n), or null: images as they are.
  void (*gatherImages)(const uint8_t* pixels, const int32_t* index, const ImagePlacement* placements, const float* mean, const float* std, const View& y);
};

// What the steps of an epoch leave for its end. A diverged epoch does nothing more: its updates and sums stand still.
struct EpochState {
  double lossSum = 0;          // of step losses, each times the images its first term walked through
  int64_t images = 0;          // walked through
  int64_t gradientImages = 0;  // of all terms, those of the step that diverged included
  int32_t diverged = 0;        // 1: a loss or a checked value was not finite
};

struct TrainKernels : ImageKernels<float> {
  // x: (n, in), weight: (in, out), bias: (out) or null, y: (n, out).
  void (*linear)(int64_t n, int64_t in, int64_t out, const float* x, const float* weight, const float* bias, float* y);
  // Overwrites dWeight (in, out), dBias (out, or null) and dx (n, in, or null).
  void (*linearBackward)(int64_t n, int64_t in, int64_t out, const float* x, const float* weight, const float* dy, float* dWeight, float* dBias, float* dx);

  // logits, targets, dLogits: (n, classes). labels: (n). targets may be null without matchLogits and distill, labels without crossEntropy.
  // Overwrites dLogits with weight / n times the gradient and *loss with weight times the mean loss; all sums are in double.
  void (*loss)(const LossWeights&, float weight, int64_t n, int64_t classes, const float* logits, const int32_t* labels, const float* targets, float* dLogits,
               double* loss);
  // Enters a step's losses (terms) into the state: a sum that is not finite diverges. images: of all its terms.
  void (*endStep)(int64_t terms, const double* losses, int64_t walked, int64_t images, EpochState* state);

  // v = momentum * v + g + weightDecay * p; p -= learningRate * v (PyTorch's SGD without Nesterov). All (count).
  // stop, here and below: null, or nothing is done where it is not 0.
  void (*sgdStep)(int64_t count, float learningRate, float momentum, float weightDecay, const float* gradient, float* velocity, float* parameter,
                  const int32_t* stop);
  // PyTorch's Adam with L2 weight decay; step counts from 1.
  void (*adamStep)(int64_t count, int64_t step, float learningRate, float beta1, float beta2, float epsilon, float weightDecay, const float* gradient,
                   float* first, float* second, float* parameter, const int32_t* stop);

  // BatchNorm as an affine map: inverseStd = 1 / sqrt(variance + epsilon), scale = gamma * inverseStd, shift = beta - mean * scale. All (c).
  void (*foldNorm)(int64_t c, float epsilon, const float* mean, const float* variance, const float* gamma, const float* beta, float* inverseStd, float* scale,
                   float* shift);
  // running = (1 - momentum) * running + momentum * batch, the variance times `unbiased` first. All (c).
  void (*moveRunning)(int64_t c, float momentum, float unbiased, const float* mean, const float* variance, float* runningMean, float* runningVariance);
  void (*addVector)(int64_t count, const float* from, float* to);  // to += from
  void (*checkFinite)(int64_t count, const float* values, EpochState* state);  // diverges if one is not
};

// Kernels of one instruction set; the level must be available (resolveIsa).
const TrainKernels& trainKernels(Isa isa);
const ImageKernels<Bf16>& bf16Kernels(Isa isa);

}  // namespace lethe
