// A network compiled for training: fused steps, the zero border every buffer needs, and which buffer each gradient lives in.
#pragma once
#include <string>
#include <vector>

#include "lethe/train/kernels.h"
#include "lethe/train/net.h"

namespace lethe {

// One activation or gradient, (batch, h + 2*border, w + 2*border, c); borders are zeroed once and never written.
struct PlanBuffer {
  int64_t h = 0, w = 0, c = 0, border = 0;
  Precision precision = Precision::fp32;
  int64_t bytesPerImage() const {
    return (h + 2 * border) * (w + 2 * border) * c * static_cast<int64_t>(precision == Precision::bf16 ? sizeof(Bf16) : sizeof(float));
  }
};

// Where a step's gradient with respect to one input goes: into `write`, after which `addTo` (if any) is added to it.
// No `write`: the input needs no gradient, or shares the buffer of the output gradient (add).
struct GradientFlow {
  int write = -1, addTo = -1;
};

struct PlanStep {
  LayerSpec layer;
  Precision precision = Precision::fp32;  // of its images; vectors that it makes of them are fp32
  bool relu = false;         // batchNorm or add followed by ReLU runs as one step
  int in[2] = {-1, -1};      // activation buffers
  int out = -1;
  ConvShape conv;
  PoolShape pool;
  int64_t weight = -1, bias = -1;  // offsets into the parameters: weight and bias, or gamma and beta
  int64_t runningMean = -1, runningVariance = -1;
  int64_t statistics = -1;   // offset of this norm's (5, c) statistics: mean, variance, inverseStd, scale, shift
  int64_t argmax = 0;        // bytes per image before this step's argmax
  bool backward = false;     // something trainable lies at or before this step
  int gradient = -1;         // buffer of the gradient with respect to the output
  int masked = -1;           // add with ReLU: buffer of the gradient with respect to the sum, `gradient` itself where nobody shares it
  GradientFlow flow[2];
};

struct NetPlan {
  NetSpec net;
  ParameterLayout layout;
  std::vector<PlanStep> steps;
  std::vector<PlanBuffer> buffers;  // activations first (buffer 0 is the image), then gradients
  size_t numActivations = 0;
  int64_t statisticsFloats = 0, argmaxBytesPerImage = 0, multiplyAdds = 0;

  int logits() const { return steps.back().out; }
};

// With bf16, images are bf16 up to the global pools, and what follows these is fp32.
// LETHE_NET_INVALID names the layer at fault.
Status compileNet(const NetSpec& net, Precision precision, NetPlan& plan);

}  // namespace lethe
