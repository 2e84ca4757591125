// The matrix unit of the emulated GPU.
#include "cuda/base/compiler.h"
#include "cuda/base/emulated/races.h"

namespace lethe {
inline namespace LETHE_ISA {

namespace {

float upperHalf(uint32_t word) {
  word &= 0xFFFF0000u;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}
float bf16At(uint32_t word, int half) { return upperHalf(half == 0 ? word << 16 : word); }
int32_t int8At(uint32_t word, int byte) { return static_cast<int8_t>(word >> (8 * byte)); }

template <typename Sum, typename At>
void multiply(Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int perWord, At at) {
  const uint32_t words[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const uint32_t* all = emulator::exchange(words, 6);
  const int g = emulator::lane() / 4, t = emulator::lane() % 4;
  for (int i = 0; i < 4; ++i) {
    const int column = 2 * t + i % 2;
    Sum sum = d[i];
    for (int half = 0; half < 2; ++half) {
      for (int quad = 0; quad < 4; ++quad) {
        const uint32_t left = all[(g * 4 + quad) * 8 + half * 2 + i / 2], right = all[(column * 4 + quad) * 8 + 4 + half];
        for (int k = 0; k < perWord; ++k) sum += at(left, k) * at(right, k);
      }
    }
    d[i] = sum;
  }
}

void loadMatrix(uint32_t (&r)[4], const void* row, bool transposed) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(row);
  if (address % 16 != 0) {
    emulator::stop("loadMatrix4: an address is not aligned to 16 bytes");
  }
  emulator::noteRead(row, 16);
  const uint32_t words[2] = {static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32)};
  const uint32_t* all = emulator::exchange(words, 2);
  const int lane = emulator::lane();
  for (int matrix = 0; matrix < 4; ++matrix) {
    uint16_t pair[2];
    for (int k = 0; k < 2; ++k) {
      const int from = transposed ? 2 * (lane % 4) + k : lane / 4, column = transposed ? lane / 4 : 2 * (lane % 4) + k;
      const uint32_t* holder = all + (matrix * 8 + from) * 8;
      const uintptr_t base = static_cast<uintptr_t>(holder[0]) | static_cast<uintptr_t>(holder[1]) << 32;
      std::memcpy(&pair[k], reinterpret_cast<const uint16_t*>(base) + column, sizeof(uint16_t));
    }
    r[matrix] = static_cast<uint32_t>(pair[0]) | static_cast<uint32_t>(pair[1]) << 16;
  }
  emulator::waitForLanes();  // no lane goes on to overwrite what another one still reads
}

}  // namespace

void mmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { multiply(d, a, b, 2, bf16At); }
void mmaS8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { multiply(d, a, b, 4, int8At); }
void loadMatrix4(uint32_t (&r)[4], const void* row) { loadMatrix(r, row, false); }
void loadMatrix4Transposed(uint32_t (&r)[4], const void* row) { loadMatrix(r, row, true); }

}  // namespace LETHE_ISA
}  // namespace lethe
