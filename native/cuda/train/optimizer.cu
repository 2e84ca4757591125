// Parameter updates: momentum SGD and Adam, both as PyTorch defines them.
#include <cmath>

#include "cuda/train/packs.h"

namespace lethe {
namespace {

constexpr int kPack = 4;

// ---------------------------------------------------------------- kernels

// Calls body(Width, at) for the thread's values: packs of four, and the rest one by one.
template <int V>
struct Width {
  static constexpr int value = V;
};
template <typename Body>
__device__ __forceinline__ void eachValue(int64_t count, bool packed, Body body) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, packs = packed ? count / kPack : 0;
  if (thread < packs) return body(Width<kPack>{}, thread * kPack);
  const int64_t at = packs * kPack + thread - packs;
  if (at < count) body(Width<1>{}, at);
}

__global__ void __launch_bounds__(kThreads) sgd(int64_t count, bool packed, float rate, float momentum, float weightDecay, const float* gradient,
                                                float* velocity, float* parameter, const int32_t* stop) {
  if (stop && *stop != 0) return;
  eachValue(count, packed, [&](auto width, int64_t at) {
    constexpr int V = decltype(width)::value;
    float g[V], v[V], p[V];
    load<V>(gradient + at, g);
    load<V>(velocity + at, v);
    load<V>(parameter + at, p);
    for (int k = 0; k < V; ++k) {
      v[k] = momentum * v[k] + g[k] + weightDecay * p[k];
      p[k] -= rate * v[k];
    }
    store<V>(velocity + at, v);
    store<V>(parameter + at, p);
  });
}

__global__ void __launch_bounds__(kThreads) adam(int64_t count, bool packed, float rate, float root, float beta1, float beta2, float epsilon, float weightDecay,
                                                 const float* gradient, float* first, float* second, float* parameter, const int32_t* stop) {
  if (stop && *stop != 0) return;
  eachValue(count, packed, [&](auto width, int64_t at) {
    constexpr int V = decltype(width)::value;
    float g[V], m[V], s[V], p[V];
    load<V>(gradient + at, g);
    load<V>(first + at, m);
    load<V>(second + at, s);
    load<V>(parameter + at, p);
    for (int k = 0; k < V; ++k) {
      const float slope = g[k] + weightDecay * p[k];
      m[k] = beta1 * m[k] + (1 - beta1) * slope;
      s[k] = beta2 * s[k] + (1 - beta2) * slope * slope;
      p[k] -= rate * m[k] / (sqrtf(s[k]) * root + epsilon);
    }
    store<V>(first + at, m);
    store<V>(second + at, s);
    store<V>(parameter + at, p);
  });
}

// ---------------------------------------------------------------- launchers

unsigned blocksOf(int64_t count, bool packed) { return static_cast<unsigned>(ceilDivide(packed ? count / kPack + count % kPack : count, kThreads)); }

void sgdStep(int64_t count, float learningRate, float momentum, float weightDecay, const float* gradient, float* velocity, float* parameter,
             const int32_t* stop) {
  const bool packed = alignedTo(gradient, 16) && alignedTo(velocity, 16) && alignedTo(parameter, 16);
  launch(blocksOf(count, packed), kThreads, 0, sgd, count, packed, learningRate, momentum, weightDecay, gradient, velocity, parameter, stop);
}

void adamStep(int64_t count, int64_t step, float learningRate, float beta1, float beta2, float epsilon, float weightDecay, const float* gradient, float* first,
              float* second, float* parameter, const int32_t* stop) {
  const double correction1 = 1 - std::pow(static_cast<double>(beta1), static_cast<double>(step));
  const double correction2 = 1 - std::pow(static_cast<double>(beta2), static_cast<double>(step));
  const float rate = static_cast<float>(learningRate / correction1), root = static_cast<float>(1 / std::sqrt(correction2));
  const bool packed = alignedTo(gradient, 16) && alignedTo(first, 16) && alignedTo(second, 16) && alignedTo(parameter, 16);
  launch(blocksOf(count, packed), kThreads, 0, adam, count, packed, rate, root, beta1, beta2, epsilon, weightDecay, gradient, first, second, parameter, stop);
}

}  // namespace

void LETHE_PER_ISA(addOptimizerKernels)(TrainKernels& table) {
  table.sgdStep = sgdStep;
  table.adamStep = adamStep;
}

}  // namespace lethe
