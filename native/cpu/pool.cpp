// Max pooling in windows, and max and average pooling over whole images.
#include "lethe/train_kernels.h"
#include "simd.h"

namespace lethe {
namespace {

// The order of torch: the first maximum wins, and NaN wins over numbers.
inline bool wins(float value, float best) { return value > best || (value != value && best == best); }

void maxPool(const ImageView& x, int64_t size, const ImageView& y, uint8_t* argmax) {
  for (int64_t i = 0; i < y.n; ++i)
    for (int64_t py = 0; py < y.h; ++py)
      for (int64_t px = 0; px < y.w; ++px) {
        float* out = y.pixel(i, py, px);
        uint8_t* chosen = argmax + ((i * y.h + py) * y.w + px) * y.c;
        const float* first = x.pixel(i, py * size, px * size);
        for (int64_t c = 0; c < y.c; ++c) out[c] = first[c], chosen[c] = 0;
        for (int64_t k = 1; k < size * size; ++k) {
          const float* in = x.pixel(i, py * size + k / size, px * size + k % size);
          for (int64_t c = 0; c < y.c; ++c)
            if (wins(in[c], out[c])) out[c] = in[c], chosen[c] = static_cast<uint8_t>(k);
        }
      }
}

void maxPoolBackward(const ImageView& dy, int64_t size, const uint8_t* argmax, const ImageView& dx) {
  for (int64_t i = 0; i < dy.n; ++i)
    for (int64_t py = 0; py < dy.h; ++py)
      for (int64_t px = 0; px < dy.w; ++px) {
        const float* grad = dy.pixel(i, py, px);
        const uint8_t* chosen = argmax + ((i * dy.h + py) * dy.w + px) * dy.c;
        for (int64_t k = 0; k < size * size; ++k) {
          float* out = dx.pixel(i, py * size + k / size, px * size + k % size);
          for (int64_t c = 0; c < dy.c; ++c) out[c] = chosen[c] == k ? grad[c] : 0;
        }
      }
}

void globalMaxPool(const ImageView& x, float* y, int32_t* argmax) {
  for (int64_t i = 0; i < x.n; ++i) {
    float* out = y + i * x.c;
    int32_t* chosen = argmax + i * x.c;
    const float* first = x.pixel(i, 0, 0);
    for (int64_t c = 0; c < x.c; ++c) out[c] = first[c], chosen[c] = 0;
    for (int64_t p = 1; p < x.h * x.w; ++p) {
      const float* in = x.pixel(i, p / x.w, p % x.w);
      for (int64_t c = 0; c < x.c; ++c)
        if (wins(in[c], out[c])) out[c] = in[c], chosen[c] = static_cast<int32_t>(p);
    }
  }
}

void globalMaxPoolBackward(const float* dy, const int32_t* argmax, const ImageView& dx) {
  for (int64_t i = 0; i < dx.n; ++i)
    for (int64_t p = 0; p < dx.h * dx.w; ++p) {
      float* out = dx.pixel(i, p / dx.w, p % dx.w);
      for (int64_t c = 0; c < dx.c; ++c) out[c] = argmax[i * dx.c + c] == p ? dy[i * dx.c + c] : 0;
    }
}

void globalAveragePool(const ImageView& x, float* y) {
  const float share = 1 / static_cast<float>(x.h * x.w);
  for (int64_t i = 0; i < x.n; ++i) {
    float* out = y + i * x.c;
    for (int64_t c = 0; c < x.c; ++c) out[c] = 0;
    for (int64_t p = 0; p < x.h * x.w; ++p) {
      const float* in = x.pixel(i, p / x.w, p % x.w);
      for (int64_t c = 0; c < x.c; ++c) out[c] += in[c];
    }
    for (int64_t c = 0; c < x.c; ++c) out[c] *= share;
  }
}

void globalAveragePoolBackward(const float* dy, const ImageView& dx) {
  const float share = 1 / static_cast<float>(dx.h * dx.w);
  for (int64_t i = 0; i < dx.n; ++i)
    for (int64_t p = 0; p < dx.h * dx.w; ++p) {
      float* out = dx.pixel(i, p / dx.w, p % dx.w);
      for (int64_t c = 0; c < dx.c; ++c) out[c] = dy[i * dx.c + c] * share;
    }
}

}  // namespace

void LETHE_PER_ISA(addPoolKernels)(TrainKernels& table) {
  table.maxPool = maxPool;
  table.maxPoolBackward = maxPoolBackward;
  table.globalMaxPool = globalMaxPool;
  table.globalMaxPoolBackward = globalMaxPoolBackward;
  table.globalAveragePool = globalAveragePool;
  table.globalAveragePoolBackward = globalAveragePoolBackward;
}

}  // namespace lethe
