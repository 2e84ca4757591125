#include "lethe/train/kernels.h"

// One function per op family and instruction set, defined in native/cpu; each fills its entries of the table.
#define LETHE_TRAIN_TABLES(isa)                             \
  void addConvKernels_##isa(ImageKernels<float>&);          \
  void addConvWeightKernels_##isa(ImageKernels<float>&);    \
  void addBatchNormKernels_##isa(ImageKernels<float>&);     \
  void addPointwiseKernels_##isa(ImageKernels<float>&);     \
  void addPoolKernels_##isa(ImageKernels<float>&);          \
  void addLinearKernels_##isa(TrainKernels&);               \
  void addLossKernels_##isa(TrainKernels&);                 \
  void addOptimizerKernels_##isa(TrainKernels&);            \
  void addVectorKernels_##isa(TrainKernels&);               \
  void addConvBf16Kernels_##isa(ImageKernels<Bf16>&);       \
  void addConvWeightBf16Kernels_##isa(ImageKernels<Bf16>&); \
  void addBatchNormBf16Kernels_##isa(ImageKernels<Bf16>&);  \
  void addPointwiseBf16Kernels_##isa(ImageKernels<Bf16>&);  \
  void addPoolBf16Kernels_##isa(ImageKernels<Bf16>&);       \
  static TrainKernels table_##isa() {                       \
    TrainKernels table{};                                   \
    addConvKernels_##isa(table);                            \
    addConvWeightKernels_##isa(table);                      \
    addBatchNormKernels_##isa(table);                       \
    addPointwiseKernels_##isa(table);                       \
    addPoolKernels_##isa(table);                            \
    addLinearKernels_##isa(table);                          \
    addLossKernels_##isa(table);                            \
    addOptimizerKernels_##isa(table);                       \
    addVectorKernels_##isa(table);                          \
    return table;                                           \
  }                                                         \
  static ImageKernels<Bf16> bf16Table_##isa() {             \
    ImageKernels<Bf16> table{};                             \
    addConvBf16Kernels_##isa(table);                        \
    addConvWeightBf16Kernels_##isa(table);                  \
    addBatchNormBf16Kernels_##isa(table);                   \
    addPointwiseBf16Kernels_##isa(table);                   \
    addPoolBf16Kernels_##isa(table);                        \
    return table;                                           \
  }

namespace lethe {

LETHE_TRAIN_TABLES(portable)
#if defined(__x86_64__)
LETHE_TRAIN_TABLES(avx2)
LETHE_TRAIN_TABLES(avx512)
void addConvBf16Kernels_avx512bf16(ImageKernels<Bf16>&);
void addConvWeightBf16Kernels_avx512bf16(ImageKernels<Bf16>&);
void addBatchNormBf16Kernels_avx512bf16(ImageKernels<Bf16>&);
void addPointwiseBf16Kernels_avx512bf16(ImageKernels<Bf16>&);
void addPoolBf16Kernels_avx512bf16(ImageKernels<Bf16>&);
void addConvBf16Kernels_amx(ImageKernels<Bf16>&);
void addConvWeightBf16Kernels_amx(ImageKernels<Bf16>&);

static ImageKernels<Bf16> bf16Table_avx512bf16() {
  ImageKernels<Bf16> table{};
  addConvBf16Kernels_avx512bf16(table);
  addConvWeightBf16Kernels_avx512bf16(table);
  addBatchNormBf16Kernels_avx512bf16(table);
  addPointwiseBf16Kernels_avx512bf16(table);
  addPoolBf16Kernels_avx512bf16(table);
  return table;
}

static ImageKernels<Bf16> bf16Table_amx() {
  ImageKernels<Bf16> table = bf16Table_avx512bf16();
  addConvBf16Kernels_amx(table);
  addConvWeightBf16Kernels_amx(table);
  return table;
}
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

const ImageKernels<Bf16>& bf16Kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::amx) {
    static const ImageKernels<Bf16> table = bf16Table_amx();
    return table;
  }
  if (isa == Isa::avx512bf16) {
    static const ImageKernels<Bf16> table = bf16Table_avx512bf16();
    return table;
  }
  if (isa == Isa::avx512) {
    static const ImageKernels<Bf16> table = bf16Table_avx512();
    return table;
  }
  if (isa == Isa::avx2) {
    static const ImageKernels<Bf16> table = bf16Table_avx2();
    return table;
  }
#endif
  static_cast<void>(isa);
  static const ImageKernels<Bf16> table = bf16Table_portable();
  return table;
}

}  // namespace lethe
