// What kernels and launchers of this folder use of CUDA. Each .cu here is compiled twice: by nvcc (LETHE_ISA=cuda), and by the C++ compiler
// against an emulated GPU (LETHE_ISA=cuda_emulated), on which the tests run every kernel without hardware. Both forms offer the same names:
//
//   device code   threadIdx, blockIdx, blockDim, gridDim, __shared__, __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync,
//                 __shfl_down_sync, __ballot_sync, atomicAdd, atomicMax, atomicOr, __popc, __popcll, __clz, __ffs, __ldg, __dmul_rn, __dadd_rn, LETHE_UNROLL;
//                 dynamicShared<T>(), mmaBf16, mmaS8, loadMatrix4, loadMatrix4Transposed, copyAsync16, commitCopies, waitCopies<n>
//   host code     launch, DeviceMemory, upload, uploadRows, download, copyOnDevice, clear, synchronize, useDevice, deviceCount, freeDeviceBytes,
//                 multiprocessors, mostSharedBytes, Stream, Recording
//
// Warp operations take all 32 lanes; blocks are whole warps. A launch or copy that fails throws GpuError; entry points turn it into a Status.
#pragma once
#include <cstdint>

#include "lethe/base/gpu_error.h"

#define LETHE_JOIN_NAMES(name, isa) name##_##isa
#define LETHE_JOIN(name, isa) LETHE_JOIN_NAMES(name, isa)
#define LETHE_PER_ISA(name) LETHE_JOIN(name, LETHE_ISA)
#define LETHE_TEXT_OF(name) #name
#define LETHE_TEXT(name) LETHE_TEXT_OF(name)

#ifdef LETHE_EMULATE_CUDA
#include "cuda/base/emulated/device.h"
#else
#include "cuda/base/nvcc.h"
#endif
