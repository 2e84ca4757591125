// A network compiled for training: fused steps, the zero border every buffer needs, and which buffer each gradient lives in.
#pragma once
#include <string>
#include <vector>

#include "lethe/net.h"
#include "lethe/train_kernels.h"

namespace lethe {

// One activation or gradient, (batch, h + 2*border, w + 2*border, c); borders are zeroed once and never written.
struct PlanBuffer {
  int64_t h = 0, w = 0, c = 0, border = 0;
  int64_t floatsPerImage() const { return (h + 2 * border) * (w + 2 * border) * c; }
};

// Where a step's gradient with respect to one input goes: into `write`, after which `addTo` (if any) is added to it.
// No `write`: the input needs no gradient, or shares the buffer of the output gradient (add).
struct GradientFlow {
  int write = -1, addTo = -1;
};

struct PlanStep {
  LayerSpec layer;
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
  // floats per image of the first `count` buffers
  int64_t floatsPerImage(size_t count) const;
};

// LETHE_NET_INVALID names the layer at fault.
Status compileNet(const NetSpec& net, NetPlan& plan);

}  // namespace lethe
