#include "lethe/train_kernels.h"

// One function per op family and instruction set, defined in native/cpu; each fills its entries of the table.
#define LETHE_TRAIN_TABLE(isa)                      \
  void addConvKernels_##isa(TrainKernels&);         \
  void addConvWeightKernels_##isa(TrainKernels&);   \
  void addBatchNormKernels_##isa(TrainKernels&);    \
  void addPointwiseKernels_##isa(TrainKernels&);    \
  void addPoolKernels_##isa(TrainKernels&);         \
  void addLinearKernels_##isa(TrainKernels&);       \
  void addLossKernels_##isa(TrainKernels&);         \
  void addOptimizerKernels_##isa(TrainKernels&);    \
  static TrainKernels table_##isa() {               \
    TrainKernels table{};                           \
    addConvKernels_##isa(table);                    \
    addConvWeightKernels_##isa(table);              \
    addBatchNormKernels_##isa(table);               \
    addPointwiseKernels_##isa(table);               \
    addPoolKernels_##isa(table);                    \
    addLinearKernels_##isa(table);                  \
    addLossKernels_##isa(table);                    \
    addOptimizerKernels_##isa(table);               \
    return table;                                   \
  }

namespace lethe {

LETHE_TRAIN_TABLE(portable)
#if defined(__x86_64__)
LETHE_TRAIN_TABLE(avx2)
LETHE_TRAIN_TABLE(avx512)
#endif

const TrainKernels& trainKernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) {
    static const TrainKernels table = table_avx512();
    return table;
  }
  if (isa == Isa::avx2) {
    static const TrainKernels table = table_avx2();
    return table;
  }
#endif
  static_cast<void>(isa);
  static const TrainKernels table = table_portable();
  return table;
}

}  // namespace lethe
