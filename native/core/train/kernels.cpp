#include "lethe/train/kernels.h"

#include "core/base/isa_table.h"

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

LETHE_EVERY_LEVEL(LETHE_TRAIN_TABLES)

#if defined(__x86_64__)
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
#define LETHE_LEVELS_ABOVE \
  , {Isa::avx512bf16, bf16Table_avx512bf16}, { Isa::amx, bf16Table_amx }
#else
#define LETHE_LEVELS_ABOVE
#endif

const TrainKernels& trainKernels(Isa isa) {
  static IsaTables<TrainKernels> tables({LETHE_LEVELS_OF(table)});
  return tables.of(isa);
}

const ImageKernels<Bf16>& bf16Kernels(Isa isa) {
  static IsaTables<ImageKernels<Bf16>> tables({LETHE_LEVELS_OF(bf16Table) LETHE_LEVELS_ABOVE});
  return tables.of(isa);
}

}  // namespace lethe
