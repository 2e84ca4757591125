// Naive double-precision twins of the evaluation ops: one point at a time, definitions written as loops.
#pragma once
#include <cstdint>
#include <vector>

#include "lethe/evaluate/evaluate.h"

namespace lethe::reference {

using Sample = std::vector<double>;  // the margins of one point over models

// One KLOM score; bins are found by walking the edges, probabilities and logarithms are taken as the definition has them.
double klom(const KlomOptions& options, const Sample& oracle, const Sample& unlearned);

// The k-nearest-neighbour divergence by sorting all distances; samples without ties.
double neighbourDivergence(const Sample& oracle, const Sample& unlearned, size_t k);
// The exact divergence of N(m0, s0^2) from N(m1, s1^2).
double normalDivergence(double m0, double s0, double m1, double s1);

double margin(const Sample& logits, size_t label);
double spearman(const Sample& a, const Sample& b);  // ranks by counting smaller and equal values

}  // namespace lethe::reference
