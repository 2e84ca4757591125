// Times every kernel of a ResNet-9 training step in place: the ops run in the order of a step on a real set of buffers, so that each
// finds the caches as training leaves them. Convolutions are checked against the double reference first.
// usage: train_kernels_bench [--precision fp32|bf16] [--width 8] [--batch 64] [--repeats 30] [--isa auto] [--json]
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "lethe/peaks.h"
#include "reference/train_reference.h"

namespace {

using namespace lethe;

double seconds() {  // CPU time of this thread: neighbours on the machine count less
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : (v[v.size() / 2] + v[(v.size() - 1) / 2]) / 2;
}
double medianDeviation(std::vector<double> v) {
  const double m = median(v);
  for (double& x : v) x = std::fabs(x - m);
  return median(v);
}

struct Op {
  std::string name;
  double flops;
  std::function<void()> run;
  std::vector<double> samples;
};

template <typename Value>
struct Layer {
  ConvShape shape;
  int64_t in, out;  // heights
  bool firstLayer;
  ImageOf<Value> x, z, y, dy, dz, dx;  // input, convolution, activation, and their gradients
  std::vector<float> weight, dWeight, velocity, mean, variance, inverse, shift, gamma, beta, dGamma, dBeta;  // gamma 1, beta 0
};

template <typename Value>
class Net {
  using View = ImageOf<Value>;
  using Layer = ::Layer<Value>;

 public:
  Net(const TrainKernels& kernels, const ImageKernels<Value>& images, int64_t batch, int64_t width) : k_(kernels), i_(images), n_(batch) {
    const int64_t a = 64 / width, b = 128 / width, c = 256 / width;
    gather();
    View x = conv(input_, {3, a, 3, 1, 1}, 2);
    x = conv(x, {a, b, 5, 2, 2}, 1);
    View skip = x;
    x = addSkip(conv(conv(x, {b, b, 3, 1, 1}, 1), {b, b, 3, 1, 1}, 1), skip);
    x = pool(conv(x, {b, c, 3, 1, 1}, 1));
    skip = x;
    x = addSkip(conv(conv(x, {c, c, 3, 1, 1}, 1), {c, c, 3, 1, 1}, 0), skip);
    head(conv(x, {c, b, 3, 1, 0}, 0), b);
    std::vector<Op> backward(backward_.rbegin(), backward_.rend());
    ops.insert(ops.end(), backward.begin(), backward.end());
    for (auto& layer : layers) {
      Layer* l = layer.get();
      push(ops, *l, "sgd", 0, [this, l] {
        k_.sgdStep(static_cast<int64_t>(l->weight.size()), 1e-3f, 0.9f, 5e-4f, l->dWeight.data(), l->velocity.data(), l->weight.data());
      });
    }
  }
  std::vector<Op> ops;
  std::vector<std::unique_ptr<Layer>> layers;
  std::vector<float> scratch = std::vector<float>(1 << 22);

 private:
  void* aligned(size_t bytes) {  // to a cache line, as the engine's buffers are
    memory_.emplace_back(bytes + 64);
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory_.back().data()) + 63) / 64 * 64);
  }
  float* floats(int64_t count, double scale) {
    float* first = static_cast<float*>(aligned(static_cast<size_t>(count) * sizeof(float)));
    std::normal_distribution<float> normal(0, static_cast<float>(scale));
    for (int64_t k = 0; scale > 0 && k < count; ++k) first[k] = normal(random_);
    return first;
  }
  View image(int64_t size, int64_t channels, int64_t border) {
    View view{nullptr, n_, size, size, channels, border};
    view.data = static_cast<Value*>(aligned(static_cast<size_t>(view.size()) * sizeof(Value)));
    return view;
  }
  void push(std::vector<Op>& list, const Layer& l, const std::string& what, double flops, std::function<void()> run) {
    const ConvShape& s = l.shape;
    list.push_back({std::to_string(s.inChannels) + "->" + std::to_string(s.outChannels) + " " + std::to_string(s.kernel) + "x" +
                        std::to_string(s.kernel) + (s.stride > 1 ? "/2" : "") + " @" + std::to_string(l.in) + " " + what,
                    flops, std::move(run), {}});
  }
  void gather() {
    input_ = image(32, 3, 1);
    pixels_.resize(static_cast<size_t>(n_) * 4 * 3072);
    for (uint8_t& p : pixels_) p = static_cast<uint8_t>(random_());
    for (int64_t i = 0; i < n_; ++i) index_.push_back(static_cast<int32_t>(random_() % static_cast<uint64_t>(n_ * 4)));
    ops.push_back({"gather", 0, [this] { i_.gatherImages(pixels_.data(), index_.data(), nullptr, mean_, std_, input_); }, {}});
  }
  View conv(const View& x, const ConvShape& s, int64_t border) {
    layers.push_back(std::make_unique<Layer>());
    Layer* l = layers.back().get();
    const int64_t out = (x.h + 2 * s.pad - s.kernel) / s.stride + 1, co = s.outChannels;
    const size_t weights = static_cast<size_t>(s.kernel * s.kernel * s.inChannels * co), c = static_cast<size_t>(co);
    *l = {s, x.h, out, layers.size() == 1, x, image(out, co, 0), image(out, co, border), image(out, co, 0),
          image(out, co, s.kernel - 1 - s.pad), image(x.h, s.inChannels, 0), {}, std::vector<float>(weights), std::vector<float>(weights),
          std::vector<float>(c), std::vector<float>(c), std::vector<float>(c), std::vector<float>(c), std::vector<float>(c, 1),
          std::vector<float>(c), std::vector<float>(c), std::vector<float>(c)};
    const float* w = floats(static_cast<int64_t>(weights), std::sqrt(2.0 / static_cast<double>(s.kernel * s.kernel * s.inChannels)));
    l->weight.assign(w, w + weights);
    const double flops = 2.0 * static_cast<double>(weights) * static_cast<double>(n_ * out * out);
    push(ops, *l, "forward", flops, [this, l] { i_.convForward(l->shape, l->x, l->weight.data(), l->z, scratch.data()); });
    push(ops, *l, "statistics", 0, [this, l] {
      i_.batchNormStatistics(l->z, l->mean.data(), l->variance.data());
      for (size_t k = 0; k < l->mean.size(); ++k) {
        l->inverse[k] = 1 / std::sqrt(l->variance[k] + 1e-5f);
        l->shift[k] = -l->mean[k] * l->inverse[k];
      }
    });
    push(ops, *l, "affine relu", 0, [this, l] { i_.affine(l->z, l->inverse.data(), l->shift.data(), true, l->y); });
    if (!l->firstLayer)
      push(backward_, *l, "input gradient", flops,
           [this, l] { i_.convInputGradient(l->shape, l->dz, l->weight.data(), l->dx, scratch.data()); });
    push(backward_, *l, "weight gradient", flops,
         [this, l] { i_.convWeightGradient(l->shape, l->x, l->dz, l->dWeight.data(), scratch.data()); });
    push(backward_, *l, "batchNorm backward", 0, [this, l] {
      i_.batchNormBackward(l->z, l->dy, l->mean.data(), l->inverse.data(), l->gamma.data(), l->beta.data(), true, true, l->dGamma.data(),
                           l->dBeta.data(), l->dz);
    });
    if (layers.size() > 1) (pooled_ ? pooledGradient_ : layers[layers.size() - 2]->dy).data = l->dx.data;
    pooled_ = false;
    return l->y;
  }
  View addSkip(const View& x, const View& skip) {
    ops.push_back({"residual add", 0, [this, x, skip] { i_.add(x, skip, x); }, {}});
    const View a = image(x.h, x.c, 0), b = image(x.h, x.c, 0);
    backward_.push_back({"residual add backward", 0, [this, a, b] { i_.add(a, b, a); }, {}});
    return x;
  }
  View pool(const View& x) {
    const View y = image(x.h / 2, x.c, 1), dx = image(x.h, x.c, 0);
    pooledGradient_ = image(x.h / 2, x.c, 0);
    pooled_ = true;
    argmax_.resize(static_cast<size_t>(n_ * y.h * y.w * y.c));
    ops.push_back({"max pool", 0, [this, x, y] { i_.maxPool({2, 2, 0}, x, y, argmax_.data()); }, {}});
    backward_.push_back({"max pool backward", 0, [this, dx] { i_.maxPoolBackward({2, 2, 0}, pooledGradient_, argmax_.data(), dx); }, {}});
    layers.back()->dy.data = dx.data;
    return y;
  }
  void head(const View& x, int64_t c) {
    float *y = floats(n_ * c, 0), *dy = floats(n_ * c, 0), *w = floats(c * 10, 0.3), *b = floats(10, 0.1), *z = floats(n_ * 10, 0),
          *dz = floats(n_ * 10, 0), *dw = floats(c * 10, 0), *db = floats(10, 0);
    top_.resize(static_cast<size_t>(n_ * c));
    labels_.assign(static_cast<size_t>(n_), 3);
    ops.push_back({"global max pool", 0, [=, this] { i_.globalMaxPool(x, y, top_.data()); }, {}});
    ops.push_back({"linear", 0, [=, this] { k_.linear(n_, c, 10, y, w, b, z); }, {}});
    ops.push_back({"loss", 0, [=, this] { k_.loss({1, 0.1f, 0, 0, 1}, 1, n_, 10, z, labels_.data(), nullptr, dz); }, {}});
    const View dx = layers.back()->dy;
    backward_.push_back({"global max pool backward", 0, [=, this] { i_.globalMaxPoolBackward(dy, top_.data(), dx); }, {}});
    backward_.push_back({"linear backward", 0, [=, this] { k_.linearBackward(n_, c, 10, y, w, dz, dw, db, dy); }, {}});
  }

  const TrainKernels& k_;
  const ImageKernels<Value>& i_;
  int64_t n_;
  std::mt19937_64 random_{1};
  std::vector<std::vector<uint8_t>> memory_;
  std::vector<Op> backward_;
  View input_, pooledGradient_;
  bool pooled_ = false;  // the last activation was pooled
  std::vector<uint8_t> pixels_, argmax_;
  std::vector<int32_t> index_, labels_, top_;
  float mean_[3] = {0.49f, 0.48f, 0.45f}, std_[3] = {0.2f, 0.2f, 0.2f};
};

template <typename Value>
reference::Tensor tensorOf(const ImageOf<Value>& v) {
  reference::Tensor t(v.n, v.h, v.w, v.c);
  size_t k = 0;
  for (int64_t i = 0; i < v.n; ++i)
    for (int64_t y = 0; y < v.h; ++y)
      for (int64_t x = 0; x < v.w; ++x)
        for (int64_t c = 0; c < v.c; ++c) t.data[k++] = v.pixel(i, y, x)[c];
  return t;
}
bool close(const std::vector<double>& expected, const std::vector<double>& actual, double tolerance) {
  double top = 0, worst = 0;
  for (size_t k = 0; k < expected.size(); ++k) {
    top = std::max(top, std::fabs(expected[k]));
    worst = std::max(worst, std::fabs(expected[k] - actual[k]));
  }
  return worst <= tolerance * top && top > 0;
}

// One step on two images, then every convolution against the reference on the buffers of that step.
template <typename Value>
bool correct(const TrainKernels& kernels, const ImageKernels<Value>& images, int64_t width) {
  Net<Value> net(kernels, images, 2, width);
  for (Op& op : net.ops) op.run();
  for (auto& l : net.layers) {
    const double tolerance = sizeof(Value) == 2 ? 1.0 / 256 : 1e-5;
    reference::Values weight;
    for (float value : l->weight) weight.push_back(static_cast<float>(Value(value)));
    images.convForward(l->shape, l->x, l->weight.data(), l->z, net.scratch.data());
    images.convInputGradient(l->shape, l->dz, l->weight.data(), l->dx, net.scratch.data());
    const reference::Tensor x = tensorOf(l->x), dz = tensorOf(l->dz);
    if (!close(reference::convForward(l->shape, x, weight).data, tensorOf(l->z).data, tolerance) ||
        !close(reference::convInputGradient(l->shape, dz, weight, x.h, x.w).data, tensorOf(l->dx).data, tolerance) ||
        !close(reference::convWeightGradient(l->shape, x, dz), {l->dWeight.begin(), l->dWeight.end()}, 1e-5))
      return false;
  }
  return true;
}

void report(std::vector<Op>& ops, Isa isa, const std::string& precision, int64_t width, int64_t batch, int repeats, double peak, bool json) {
  double total = 0, flops = 0, convolutions = 0, leastTotal = 0;
  for (Op& op : ops) {
    leastTotal += *std::min_element(op.samples.begin(), op.samples.end());
    total += median(op.samples);
    flops += op.flops;
    convolutions += op.flops > 0 ? median(op.samples) : 0;
  }
  if (json)
    std::printf("{\"isa\": \"%s\", \"precision\": \"%s\", \"width\": %ld, \"batch\": %ld, \"n\": %d, \"peakGflops\": %.1f, \"stepMs\": %.3f, \"imagesPerSecond\": %.0f, \"ops\": [",
                isaName(isa), precision.c_str(), width, batch, repeats, peak, total * 1e3, static_cast<double>(batch) / total);
  else
    std::printf("ResNet-9 width/%ld, batch %ld, %s %s, CPU time of one thread, n = %d, FMA peak %.1f GF/s\n%-36s %9s %8s %8s %7s %6s %6s\n", width,
                batch, isaName(isa), precision.c_str(), repeats, peak, "op", "median ms", "MAD", "least", "GF/s", "peak", "step");
  for (size_t k = 0; k < ops.size(); ++k) {
    Op& op = ops[k];
    const double time = median(op.samples), rate = op.flops / time * 1e-9;
    const double least = *std::min_element(op.samples.begin(), op.samples.end());
    if (json)
      std::printf("%s{\"op\": \"%s\", \"medianMs\": %.4f, \"madMs\": %.4f, \"leastMs\": %.4f, \"gflops\": %.1f}", k ? ", " : "", op.name.c_str(),
                  time * 1e3, medianDeviation(op.samples) * 1e3, least * 1e3, rate);
    else
      std::printf("%-36s %9.3f %8.3f %8.3f %7.1f %5.0f%% %5.1f%%\n", op.name.c_str(), time * 1e3,
                  medianDeviation(op.samples) * 1e3, least * 1e3, rate, 100 * rate / peak, 100 * time / total);
  }
  if (json)
    std::printf("]}\n");
  else
    std::printf("convolutions %.2f ms, %.1f GF/s (%.0f %% of peak); all kernels %.2f ms, %.0f images/s (%.0f at the least times)\n", convolutions * 1e3,
                flops / convolutions * 1e-9, 100 * flops / convolutions * 1e-9 / peak, total * 1e3, static_cast<double>(batch) / total,
                static_cast<double>(batch) / leastTotal);
}

template <typename Value>
int run(const ImageKernels<Value>& images, Isa isa, const std::string& precision, int64_t width, int64_t batch, int repeats, bool json) {
  const TrainKernels& kernels = trainKernels(isa);
  if (!correct(kernels, images, width)) {
    std::fprintf(stderr, "a convolution differs from the reference; nothing was timed\n");
    return 1;
  }
  Net<Value> net(kernels, images, batch, width);
  for (int r = -2; r < repeats; ++r) {
    for (Op& op : net.ops) {
      const double start = seconds();
      op.run();
      if (r >= 0) op.samples.push_back(seconds() - start);
    }
  }
  report(net.ops, isa, precision, width, batch, repeats, measurePeaks(isa).fmaGflops, json);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int64_t width = 8, batch = 64;
  int repeats = 30;
  bool json = false;
  std::string requested, precision = "fp32";
  for (int k = 1; k < argc; ++k) {
    const std::string name = argv[k];
    if (name == "--json") {
      json = true;
      continue;
    }
    const char* value = k + 1 < argc ? argv[++k] : "";
    if (name == "--width") width = std::atoll(value);
    if (name == "--batch") batch = std::atoll(value);
    if (name == "--repeats") repeats = std::atoi(value);
    if (name == "--isa") requested = value;
    if (name == "--precision") precision = value;
  }
  Isa isa;
  const Status status = resolveIsa(requested, isa);
  if (!status.ok() || width < 1 || width > 64 || batch < 1 || repeats < 1 || (precision != "fp32" && precision != "bf16")) {
    std::fprintf(stderr, "%s\n", status.ok() ? "usage: --precision fp32|bf16 --width 1..64 --batch >= 1 --repeats >= 1 --isa NAME --json" : status.message.c_str());
    return 2;
  }
  if (precision == "bf16") return run(bf16Kernels(isa), isa, precision, width, batch, repeats, json);
  return run<float>(trainKernels(isa), isa, precision, width, batch, repeats, json);
}
