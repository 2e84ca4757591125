#include "core/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace lethe {

namespace {

bool allFinite(const float* values, int64_t count) {
  return std::all_of(values, values + count, [](float value) { return std::isfinite(value); });
}

int64_t stepsPerEpoch(const Pass& pass) {
  const PassTerm& walked = pass.terms[0];
  return (examplesPerEpoch(walked) + walked.batchSize - 1) / walked.batchSize;
}

// One random stream for every (epoch, pass, term); the driver has checked the bounds on passes and terms.
uint32_t stream(int64_t epoch, size_t pass, size_t term) {
  return static_cast<uint32_t>(epoch) * 256u + static_cast<uint32_t>(pass) * 16u + static_cast<uint32_t>(term);
}

int64_t roundUp(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// The largest batch of a job.
int64_t largestBatch(const TrainJob& job) {
  int64_t batch = 0;
  for (const Pass& pass : job.passes) {
    for (size_t term = 0; term < pass.terms.size(); ++term) {
      const int64_t size = pass.terms[term].batchSize;
      batch = std::max(batch, term == 0 ? std::min(size, examplesPerEpoch(pass.terms[0])) : size);
    }
  }
  return batch;
}

// Where a trainer's vectors lie.
struct VectorLayout {
  VectorLayout(const NetPlan& plan, const TrainerSize& size) {
    const int64_t trainable = plan.layout.numTrainable;
    state = take(static_cast<int64_t>(sizeof(EpochState)));
    losses = take(size.terms * static_cast<int64_t>(sizeof(double)));
    parameters = take(plan.layout.numParameters * static_cast<int64_t>(sizeof(float)));
    gradient = take(trainable * static_cast<int64_t>(sizeof(float)));
    first = take(trainable * static_cast<int64_t>(sizeof(float)));
    if (size.terms > 1) termGradient = take(trainable * static_cast<int64_t>(sizeof(float)));
    if (size.adam) second = take(trainable * static_cast<int64_t>(sizeof(float)));
  }
  int64_t take(int64_t size) {
    const int64_t at = bytes;
    bytes += roundUp(size);
    return at;
  }
  int64_t bytes = 0, state, losses, parameters, gradient, first, termGradient = -1, second = -1;
};

// Of the largest batch, with everything a term can have.
int64_t batchBytes(const NetPlan& plan, const TrainerSize& size) {
  return size.batch * static_cast<int64_t>(2 * sizeof(int32_t) + sizeof(ImagePlacement) + static_cast<size_t>(plan.net.numClasses) * sizeof(float));
}

}  // namespace

int64_t examplesPerEpoch(const PassTerm& term) { return term.samplePerEpoch < 0 ? term.count : term.alwaysIncluded + term.samplePerEpoch; }

int64_t plannedImages(const TrainJob& job) {
  int64_t images = 0;
  for (const Pass& pass : job.passes) {
    int64_t perEpoch = examplesPerEpoch(pass.terms[0]);
    for (size_t term = 1; term < pass.terms.size(); ++term) perEpoch += stepsPerEpoch(pass) * pass.terms[term].batchSize;
    images += perEpoch * std::min(pass.activeEpochs, job.epochs);
  }
  return images;
}

int64_t DeviceImages::bytes(const ImageData& data, const NetSpec& net) {
  return data.numPoints * net.height * net.width * net.channels + 2 * net.channels * static_cast<int64_t>(sizeof(float));
}

DeviceImages::DeviceImages(const TrainBackend& backend, const ImageData& data, const NetSpec& net)
    : pixelsCopy_(backend, data.numPoints * net.height * net.width * net.channels),
      meanCopy_(backend, net.channels * static_cast<int64_t>(sizeof(float))),
      stdCopy_(backend, net.channels * static_cast<int64_t>(sizeof(float))) {
  pixels = pixelsCopy_.send(data.pixels, data.numPoints * net.height * net.width * net.channels);
  mean = meanCopy_.send(data.mean.data(), net.channels);
  std = stdCopy_.send(data.std.data(), net.channels);
}

void Evaluator::run(NetRunner& runner, const float* parameters, const int32_t* points, int64_t count, const TaskControl& control, float* logits) {
  const int64_t classes = runner.numClasses();
  for (int64_t from = 0; from < count && !control.aborted(); from += backend_.evalBatch) {
    const int64_t n = std::min(backend_.evalBatch, count - from);
    runner.gather(n, images_.pixels, points_.send(points + from, n), nullptr, images_.mean, images_.std);
    runner.forward(n, parameters);
    backend_.download(logits + from * classes, runner.logits(), n * classes * static_cast<int64_t>(sizeof(float)));
  }
}

TrainerSize::TrainerSize(const TrainRequest& request, const TrainBackend& backend) {
  batch = std::max<int64_t>(1, std::min(backend.evalBatch, request.numEvalPoints));
  for (const TrainJob& job : request.jobs) {
    batch = std::max(batch, largestBatch(job));
    adam = adam || job.optimizer.kind == Optimizer::Kind::adam;
    for (const Pass& pass : job.passes) terms = std::max(terms, static_cast<int64_t>(pass.terms.size()));
  }
}

int64_t Trainer::bytes(const NetPlan& plan, const TrainBackend& backend, const TrainerSize& size) {
  return NetRunner::bytes(plan, backend, size.batch, true) + VectorLayout(plan, size).bytes + batchBytes(plan, size) + Evaluator::bytes(backend) +
         backend.workerBytes;
}

Trainer::Trainer(const TrainRequest& request, const NetPlan& plan, const TrainBackend& backend, const DeviceImages& images, const TrainerSize& size,
                 QueueProgress& progress)
    : request_(request),
      plan_(plan),
      backend_(backend),
      kernels_(*backend.fp32),
      images_(images),
      progress_(progress),
      runner_(plan, backend, size.batch, true),
      evaluator_(backend, images),
      vectors_(backend, VectorLayout(plan, size).bytes),
      batch_(static_cast<size_t>(batchBytes(plan, size))),
      batchCopy_(backend, batchBytes(plan, size)),
      recordings_(backend) {
  const VectorLayout at(plan, size);
  const auto vector = [&](int64_t offset) { return offset < 0 ? nullptr : reinterpret_cast<float*>(vectors_.data() + offset); };
  state_ = reinterpret_cast<EpochState*>(vectors_.data() + at.state);
  losses_ = reinterpret_cast<double*>(vectors_.data() + at.losses);
  parameters_ = vector(at.parameters);
  gradient_ = vector(at.gradient);
  first_ = vector(at.first);
  termGradient_ = vector(at.termGradient);
  second_ = vector(at.second);
}

TrainOutcome Trainer::run(const TrainJob& job) {
  const auto start = std::chrono::steady_clock::now();
  const size_t numParameters = static_cast<size_t>(plan_.layout.numParameters);
  const int64_t parameterBytes = static_cast<int64_t>(numParameters * sizeof(float));
  const int64_t trainableBytes = plan_.layout.numTrainable * static_cast<int64_t>(sizeof(float));
  TrainOutcome outcome;
  outcome.loss = std::numeric_limits<double>::quiet_NaN();
  if (job.initialParameters) {
    backend_.upload(parameters_, job.initialParameters, parameterBytes);
  } else {
    std::vector<float> initial(numParameters);
    initialiseParameters(plan_.layout, job.seed, job.modelIndex, initial.data());
    backend_.upload(parameters_, initial.data(), parameterBytes);
  }
  backend_.clear(first_, trainableBytes);
  if (second_) backend_.clear(second_, trainableBytes);
  optimizerSteps_ = ticked_ = 0;

  if (!snapshot(job, 0)) outcome.divergedAtEpoch = 1;  // bad initial parameters
  for (int64_t epoch = 0; epoch < job.epochs && outcome.divergedAtEpoch == 0 && !progress_.control.aborted(); ++epoch) {
    if (!runEpoch(job, epoch, outcome) || !snapshot(job, epoch + 1)) outcome.divergedAtEpoch = epoch + 1;
  }

  const float nan = std::numeric_limits<float>::quiet_NaN();
  if (outcome.divergedAtEpoch != 0) {
    outcome.loss = nan;
    const int64_t perSnapshot = request_.numEvalPoints * plan_.net.numClasses;
    for (size_t i = 0; i < request_.evalEpochs.size(); ++i) {
      if (request_.evalEpochs[i] >= outcome.divergedAtEpoch) std::fill_n(job.logits + static_cast<int64_t>(i) * perSnapshot, perSnapshot, nan);
    }
    if (job.parameters) std::fill_n(job.parameters, numParameters, nan);
  } else if (job.parameters) {
    backend_.download(job.parameters, parameters_, parameterBytes);
  }
  progress_.add(plannedImages(job) - ticked_);
  progress_.report();
  outcome.elapsedMs = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

EpochState Trainer::look() const {
  EpochState state;
  backend_.download(&state, state_, static_cast<int64_t>(sizeof state));
  return state;
}

// False: a loss or parameter became non-finite. True on abort: the caller looks at the flag.
bool Trainer::runEpoch(const TrainJob& job, int64_t epoch, TrainOutcome& outcome) {
  int64_t steps = 0, step = 0;
  for (const Pass& pass : job.passes) steps += epoch < pass.activeEpochs ? stepsPerEpoch(pass) : 0;
  backend_.clear(state_, static_cast<int64_t>(sizeof(EpochState)));
  for (size_t p = 0; p < job.passes.size(); ++p) {
    if (epoch < job.passes[p].activeEpochs && !runPass(job, epoch, p, steps, step)) break;
  }
  kernels_.checkFinite(plan_.layout.numParameters, parameters_, state_);
  const EpochState state = look();
  outcome.gradientImages += state.gradientImages;
  if (state.images > 0) outcome.loss = state.lossSum / static_cast<double>(state.images);
  return state.diverged == 0;
}

// step: of `steps` in the epoch, counts on. False when there is nothing more to do in this epoch: it diverged, or the call was aborted.
bool Trainer::runPass(const TrainJob& job, int64_t epoch, size_t number, int64_t steps, int64_t& step) {
  const Pass& pass = job.passes[number];
  std::vector<Walk> walks;
  for (size_t t = 0; t < pass.terms.size(); ++t) {
    const PassTerm& term = pass.terms[t];
    const int64_t always = term.samplePerEpoch < 0 ? term.count : term.alwaysIncluded;
    const auto random = [&](Purpose purpose) { return Random(job.seed, purpose, job.modelIndex, stream(epoch, number, t)); };
    walks.push_back(
        {Sampler(term.count, always, examplesPerEpoch(term) - always, random(Purpose::shuffle)), Placer(pass.augmentation, random(Purpose::augment))});
  }
  while (walks[0].sampler.remaining() > 0) {
    if (progress_.control.aborted()) return false;
    const double position = static_cast<double>(epoch) + static_cast<double>(step++) / static_cast<double>(steps);
    runStep(job, pass, walks, learningRate(job.schedule, position, static_cast<double>(job.epochs)));
    if (step % backend_.stepsPerLook == 0 && look().diverged != 0) return false;
  }
  return true;
}

void Trainer::runStep(const TrainJob& job, const Pass& pass, std::vector<Walk>& walks, double rate) {
  const int64_t walked = std::min(pass.terms[0].batchSize, walks[0].sampler.remaining());
  int64_t images = 0;
  for (size_t t = 0; t < pass.terms.size(); ++t) {
    const PassTerm& term = pass.terms[t];
    const int64_t n = t == 0 ? walked : term.batchSize;
    addTerm(term, walks[t], n, pass.trainBatchNorm, t == 0 ? gradient_ : termGradient_, losses_ + t);
    if (t > 0) kernels_.addVector(plan_.layout.numTrainable, termGradient_, gradient_);
    images += n;
    tick(n);
  }
  kernels_.endStep(static_cast<int64_t>(pass.terms.size()), losses_, walked, images, state_);
  update(job.optimizer, rate);
}

Trainer::Batch Trainer::drawBatch(const PassTerm& term, Walk& walk, int64_t n) {
  const int64_t classes = plan_.net.numClasses;
  const bool placed = walk.placer.active();
  const size_t labelsAt = static_cast<size_t>(n) * sizeof(int32_t), placementsAt = 2 * labelsAt,
               targetsAt = placementsAt + (placed ? static_cast<size_t>(n) * sizeof(ImagePlacement) : 0),
               bytes = targetsAt + (term.targets ? static_cast<size_t>(n * classes) * sizeof(float) : 0);
  int32_t *points = reinterpret_cast<int32_t*>(batch_.data()), *labels = reinterpret_cast<int32_t*>(batch_.data() + labelsAt);
  ImagePlacement* placements = reinterpret_cast<ImagePlacement*>(batch_.data() + placementsAt);
  float* targets = reinterpret_cast<float*>(batch_.data() + targetsAt);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = walk.sampler.draw();
    points[i] = term.indices[row];
    labels[i] = request_.data.labels[points[i]];
    if (placed) placements[i] = walk.placer.next();
    if (term.targets) std::copy_n(term.targets + row * classes, classes, targets + i * classes);
  }
  const uint8_t* sent = batchCopy_.send(batch_.data(), static_cast<int64_t>(bytes));
  return {reinterpret_cast<const int32_t*>(sent), reinterpret_cast<const int32_t*>(sent + labelsAt),
          placed ? reinterpret_cast<const ImagePlacement*>(sent + placementsAt) : nullptr,
          term.targets ? reinterpret_cast<const float*>(sent + targetsAt) : nullptr};
}

// Forward, loss and backward of one term's batch; overwrites gradient with the term's weighted share and *loss.
void Trainer::addTerm(const PassTerm& term, Walk& walk, int64_t n, bool trainBatchNorm, float* gradient, double* loss) {
  const Batch batch = drawBatch(term, walk, n);
  recordings_.run({n, trainBatchNorm, term.objective, term.weight, batch.placements, batch.targets, gradient, loss}, [&] {
    runner_.gather(n, images_.pixels, batch.points, batch.placements, images_.mean, images_.std);
    runner_.forward(n, trainBatchNorm, parameters_);
    kernels_.loss(term.objective, term.weight, n, plan_.net.numClasses, runner_.logits(), batch.labels, batch.targets, runner_.logitsGradient(), loss);
    runner_.backward(n, trainBatchNorm, parameters_, gradient);
  });
}

void Trainer::update(const Optimizer& optimizer, double rate) {
  ++optimizerSteps_;
  const float step = static_cast<float>(rate);
  if (optimizer.kind == Optimizer::Kind::sgd) {
    kernels_.sgdStep(plan_.layout.numTrainable, step, optimizer.momentum, optimizer.weightDecay, gradient_, first_, parameters_, &state_->diverged);
  } else {
    kernels_.adamStep(plan_.layout.numTrainable, optimizerSteps_, step, optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weightDecay, gradient_,
                      first_, second_, parameters_, &state_->diverged);
  }
}

// Logits after `epoch` epochs where wanted; false when one is non-finite.
bool Trainer::snapshot(const TrainJob& job, int64_t epoch) {
  const int64_t perSnapshot = request_.numEvalPoints * plan_.net.numClasses;
  for (size_t i = 0; i < request_.evalEpochs.size(); ++i) {
    if (request_.evalEpochs[i] != epoch) continue;
    float* logits = job.logits + static_cast<int64_t>(i) * perSnapshot;
    evaluator_.run(runner_, parameters_, request_.evalPoints, request_.numEvalPoints, progress_.control, logits);
    if (!progress_.control.aborted() && !allFinite(logits, perSnapshot)) return false;
  }
  return true;
}

// Reports at most every 50 ms: a report wakes the JavaScript thread.
void Trainer::tick(int64_t images) {
  ticked_ += images;
  progress_.add(images);
  const auto now = std::chrono::steady_clock::now();
  if (now - lastReport_ < std::chrono::milliseconds(50)) return;
  lastReport_ = now;
  progress_.report();
}

}  // namespace lethe
