// ReLU, addition and the gather of training images.
#include "cpu/base/simd.h"
#include "lethe/train/kernels.h"

namespace lethe {
namespace {

// Calls body(image, row) for every row of the image interiors.
template <typename Value, typename Body>
inline __attribute__((always_inline)) void eachRow(const ImageOf<Value>& view, Body body) {
  for (int64_t i = 0; i < view.n; ++i)
    for (int64_t row = 0; row < view.h; ++row) body(i, row);
}

template <typename Value>
void relu(const ImageOf<Value>& x, const ImageOf<Value>& y) {
  eachRow(x, [&](int64_t i, int64_t row) {
    const Value* in = x.pixel(i, row, 0);
    Value* out = y.pixel(i, row, 0);
    for (int64_t k = 0; k < x.w * x.c; ++k) out[k] = in[k] < 0 ? Value(0) : in[k];  // NaN stays NaN
  });
}

template <typename Value>
void reluBackward(const ImageOf<Value>& y, const ImageOf<Value>& dy, const ImageOf<Value>& dx) {
  eachRow(y, [&](int64_t i, int64_t row) {
    const Value *value = y.pixel(i, row, 0), *grad = dy.pixel(i, row, 0);
    Value* out = dx.pixel(i, row, 0);
    for (int64_t k = 0; k < y.w * y.c; ++k) out[k] = value[k] <= 0 ? Value(0) : grad[k];
  });
}

template <typename Value>
void add(const ImageOf<Value>& a, const ImageOf<Value>& b, const ImageOf<Value>& y) {
  eachRow(y, [&](int64_t i, int64_t row) {
    const Value *left = a.pixel(i, row, 0), *right = b.pixel(i, row, 0);
    Value* out = y.pixel(i, row, 0);
    for (int64_t k = 0; k < y.w * y.c; ++k) out[k] = left[k] + right[k];
  });
}

template <typename Value>
void addRelu(const ImageOf<Value>& a, const ImageOf<Value>& b, const ImageOf<Value>& y) {
  eachRow(y, [&](int64_t i, int64_t row) {
    const Value *left = a.pixel(i, row, 0), *right = b.pixel(i, row, 0);
    Value* out = y.pixel(i, row, 0);
    for (int64_t k = 0; k < y.w * y.c; ++k) {
      const float sum = left[k] + right[k];
      out[k] = sum < 0 ? 0 : sum;  // NaN stays NaN
    }
  });
}

constexpr int64_t kGatherChannels = 16;  // channels whose constants are prepared together

// Constants of `count` channels, repeated so that vector k of a row of pixels takes the lanes from (k % count) * kLanes.
struct Normalisation {
  float scale[kGatherChannels * kLanes], shift[kGatherChannels * kLanes];
};

// Pixels that follow each other, all channels.
template <typename Value>
inline __attribute__((always_inline)) void normalise(const uint8_t* in, int64_t values, int64_t channels, const Normalisation& by, Value* out) {
  typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
  int64_t k = 0;
  for (int64_t phase = 0; k + kLanes <= values; k += kLanes, phase = phase + 1 == channels ? 0 : phase + 1) {
    Bytes bytes;
    std::memcpy(&bytes, in + k, sizeof bytes);
    const Vec<kLanes> value = __builtin_convertvector(bytes, Vec<kLanes>);
    store<kLanes>(out + k, value * load<kLanes>(by.scale + phase * kLanes) + load<kLanes>(by.shift + phase * kLanes));
  }
  for (; k < values; ++k) out[k] = static_cast<float>(in[k]) * by.scale[k % channels] + by.shift[k % channels];
}

// Writes `count` channels of one row; from: of the source row, or null for a row outside the image.
template <typename Value>
inline __attribute__((always_inline)) void gatherRow(const uint8_t* from, const ImagePlacement& place, int64_t width, int64_t channels, int64_t count,
                                                     const Normalisation& by, Value* out) {
  // columns [first, end) of the result show the image
  const int64_t right = place.flip ? -place.right : place.right;
  const int64_t first = right < 0 ? (-right < width ? -right : width) : 0, end = right > 0 ? (right < width ? width - right : 0) : width;
  const auto fill = [&](int64_t from_, int64_t to) {
    for (int64_t px = from_; px < to; ++px)
      for (int64_t c = 0; c < count; ++c) out[px * channels + c] = 0;
  };
  if (!from) return fill(0, width);
  fill(0, first);
  fill(end, width);
  const int64_t step = place.flip ? -channels : channels;
  const uint8_t* in = from + ((place.flip ? width - 1 - first : first) + place.right) * channels;
  if (!place.flip && count == channels) return normalise(in, (end - first) * channels, channels, by, out + first * channels);
  for (int64_t px = first; px < end; ++px, in += step)
    for (int64_t c = 0; c < count; ++c) out[px * channels + c] = static_cast<float>(in[c]) * by.scale[c] + by.shift[c];
}

template <typename Value>
void gatherImages(const uint8_t* pixels, const int32_t* index, const ImagePlacement* placements, const float* mean, const float* std, const ImageOf<Value>& y) {
  for (int64_t first = 0; first < y.c; first += kGatherChannels) {
    const int64_t count = first + kGatherChannels < y.c ? kGatherChannels : y.c - first;
    Normalisation by;
    for (int64_t k = 0; k < count * kLanes; ++k) {
      const int64_t c = first + k % count;
      by.scale[k] = static_cast<float>(1 / (255.0 * std[c]));
      by.shift[k] = static_cast<float>(-static_cast<double>(mean[c]) / std[c]);
    }
    for (int64_t i = 0; i < y.n; ++i) {
      const ImagePlacement place = placements ? placements[i] : ImagePlacement{};
      for (int64_t py = 0; py < y.h; ++py) {
        const int64_t row = py + place.down;
        const uint8_t* from = row < 0 || row >= y.h ? nullptr : pixels + (index[i] * y.h + row) * y.w * y.c + first;
        gatherRow(from, place, y.w, y.c, count, by, y.pixel(i, py, 0) + first);
      }
    }
  }
}

template <typename Value>
void fill(ImageKernels<Value>& table) {
  table.relu = relu<Value>;
  table.reluBackward = reluBackward<Value>;
  table.add = add<Value>;
  table.addRelu = addRelu<Value>;
  table.gatherImages = gatherImages<Value>;
}

}  // namespace

void LETHE_PER_ISA(addPointwiseKernels)(ImageKernels<float>& table) { fill(table); }
void LETHE_PER_ISA(addPointwiseBf16Kernels)(ImageKernels<Bf16>& table) { fill(table); }

}  // namespace lethe
