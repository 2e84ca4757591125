// Every training kernel but the convolutions, on every instruction set, against the double-precision reference.
#include "train/train_kernels_check.h"

int main() {
  lethe::test::eachIsa(lethe::test::checkTrainKernels);
  return lethe::test::finish();
}
