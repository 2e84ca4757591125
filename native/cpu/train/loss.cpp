// The weighted sum of cross-entropy, logit matching and distillation, and its gradient.
#include <cmath>

#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

// log(sum_c exp(z_c / temperature)), shifted by the maximum; NaN if any logit is.
double logSumExp(int64_t classes, const float* z, double temperature) {
  double top = z[0];
  for (int64_t c = 1; c < classes; ++c) top = z[c] > top ? z[c] : top;
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp((z[c] - top) / temperature);
  return top / temperature + std::log(sum);
}

// One example: overwrites grad (classes) with share times the gradient and returns the loss. t may be null as the contract says.
double example(const LossWeights& w, double share, int64_t classes, const float* z, const int32_t* label, const float* t, float* grad) {
  const double count = static_cast<double>(classes), temperature = w.temperature, square = temperature * temperature;
  const double normaliser = w.crossEntropy != 0 ? logSumExp(classes, z, 1) : 0;
  const double student = w.distill != 0 ? logSumExp(classes, z, temperature) : 0;
  const double teacher = w.distill != 0 ? logSumExp(classes, t, temperature) : 0;
  double crossEntropy = 0, match = 0, divergence = 0;
  for (int64_t c = 0; c < classes; ++c) {
    double slope = 0;
    if (w.crossEntropy != 0) {
      const double wanted = w.labelSmoothing / count + (c == *label ? 1 - static_cast<double>(w.labelSmoothing) : 0);
      const double logProbability = z[c] - normaliser;
      crossEntropy -= wanted * logProbability;
      slope += w.crossEntropy * (std::exp(logProbability) - wanted);
    }
    if (w.matchLogits != 0) {
      const double difference = static_cast<double>(z[c]) - t[c];
      match += difference * difference / count;
      slope += w.matchLogits * 2 * difference / count;
    }
    if (w.distill != 0) {
      const double logQ = z[c] / temperature - student, logP = t[c] / temperature - teacher, p = std::exp(logP);
      if (p > 0 || p != p) divergence += p * (logP - logQ);
      slope += w.distill * temperature * (std::exp(logQ) - p);
    }
    grad[c] = static_cast<float>(share * slope);
  }
  double total = 0;  // a term without weight adds nothing, not 0 * infinity
  if (w.crossEntropy != 0) total += w.crossEntropy * crossEntropy;
  if (w.matchLogits != 0) total += w.matchLogits * match;
  if (w.distill != 0) total += w.distill * square * divergence;
  return total;
}

void loss(const LossWeights& weights, float weight, int64_t n, int64_t classes, const float* logits, const int32_t* labels, const float* targets,
          float* dLogits, double* result) {
  const double share = static_cast<double>(weight) / static_cast<double>(n);
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    total +=
        example(weights, share, classes, logits + i * classes, labels ? labels + i : nullptr, targets ? targets + i * classes : nullptr, dLogits + i * classes);
  }
  *result = share * total;
}

}  // namespace

void LETHE_PER_ISA(addLossKernels)(TrainKernels& table) { table.loss = loss; }

}  // namespace lethe
