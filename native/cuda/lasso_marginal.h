// The marginal estimator on a GPU.
#pragma once
#include "cuda/lasso_shared.h"

namespace lethe {
inline namespace LETHE_ISA {
namespace lasso {

// Fits targets from the queue on one device until none is left, or the fit is stopped or aborted. Takes row weights.
void fitMarginal(Shared& shared, int device);

}  // namespace lasso
}  // namespace LETHE_ISA
}  // namespace lethe
