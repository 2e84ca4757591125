#include "trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace lethe {

namespace {

bool allFinite(const float* values, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    bad |= (bits & 0x7F800000u) == 0x7F800000u;
  }
  return bad == 0;
}

int64_t stepsPerEpoch(const Pass& pass) {
  const PassTerm& walked = pass.terms[0];
  return (examplesPerEpoch(walked) + walked.batchSize - 1) / walked.batchSize;
}

// One random stream for every (epoch, pass, term); the driver has checked the bounds on passes and terms.
uint32_t stream(int64_t epoch, size_t pass, size_t term) {
  return static_cast<uint32_t>(epoch) * 256u + static_cast<uint32_t>(pass) * 16u + static_cast<uint32_t>(term);
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

void evaluate(NetRunner& runner, const ImageData& data, const float* parameters, const int32_t* points, int64_t count,
              const TaskControl& control, float* logits) {
  for (int64_t from = 0; from < count && !control.aborted(); from += kEvalBatch) {
    const int64_t n = std::min(kEvalBatch, count - from);
    runner.gather(n, data.pixels, points + from, nullptr, data.mean.data(), data.std.data());
    runner.forward(n, parameters);
    const int64_t classes = runner.numClasses();
    std::copy_n(runner.logits(), n * classes, logits + from * classes);
  }
}

Trainer::Trainer(const TrainRequest& request, const NetPlan& plan, int64_t maxBatch, int64_t maxTerms, bool adam, QueueProgress& progress)
    : request_(request), plan_(plan), kernels_(trainKernels(request.isa)), progress_(progress), runner_(plan, request.isa, maxBatch, true) {
  const size_t trainable = static_cast<size_t>(plan.layout.numTrainable);
  parameters_.resize(static_cast<size_t>(plan.layout.numParameters));
  gradient_.resize(trainable);
  first_.resize(trainable);
  if (maxTerms > 1) termGradient_.resize(trainable);
  if (adam) second_.resize(trainable);
  points_.resize(static_cast<size_t>(maxBatch));
  labels_.resize(static_cast<size_t>(maxBatch));
  placements_.resize(static_cast<size_t>(maxBatch));
  targets_.resize(static_cast<size_t>(maxBatch * plan.net.numClasses));
}

TrainOutcome Trainer::run(const TrainJob& job) {
  const auto start = std::chrono::steady_clock::now();
  TrainOutcome outcome;
  outcome.loss = std::numeric_limits<double>::quiet_NaN();
  if (job.initialParameters) std::copy_n(job.initialParameters, parameters_.size(), parameters_.begin());
  else initialiseParameters(plan_.layout, job.seed, job.modelIndex, parameters_.data());
  std::fill(first_.begin(), first_.end(), 0.0f);
  std::fill(second_.begin(), second_.end(), 0.0f);
  optimizerSteps_ = 0;

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
    if (job.parameters) std::fill_n(job.parameters, parameters_.size(), nan);
  } else if (job.parameters) {
    std::copy(parameters_.begin(), parameters_.end(), job.parameters);
  }
  progress_.add(plannedImages(job) - outcome.gradientImages);
  progress_.report();
  outcome.elapsedMs = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

// False: a loss or parameter became non-finite. True on abort: the caller looks at the flag.
bool Trainer::runEpoch(const TrainJob& job, int64_t epoch, TrainOutcome& outcome) {
  int64_t steps = 0, step = 0;
  for (const Pass& pass : job.passes) steps += epoch < pass.activeEpochs ? stepsPerEpoch(pass) : 0;
  double lossSum = 0;
  int64_t images = 0;
  for (size_t p = 0; p < job.passes.size(); ++p) {
    const Pass& pass = job.passes[p];
    if (epoch >= pass.activeEpochs) continue;
    std::vector<Walk> walks;
    for (size_t t = 0; t < pass.terms.size(); ++t) {
      const PassTerm& term = pass.terms[t];
      const int64_t always = term.samplePerEpoch < 0 ? term.count : term.alwaysIncluded;
      const auto random = [&](Purpose purpose) { return Random(job.seed, purpose, job.modelIndex, stream(epoch, p, t)); };
      walks.push_back({Sampler(term.count, always, examplesPerEpoch(term) - always, random(Purpose::shuffle)), Placer(pass.augmentation, random(Purpose::augment))});
    }
    while (walks[0].sampler.remaining() > 0) {
      if (progress_.control.aborted()) return true;
      const double position = static_cast<double>(epoch) + static_cast<double>(step++) / static_cast<double>(steps);
      const int64_t walked = std::min(pass.terms[0].batchSize, walks[0].sampler.remaining());
      const double loss = runStep(job, pass, walks, learningRate(job.schedule, position, static_cast<double>(job.epochs)), outcome);
      if (!std::isfinite(loss)) return false;
      lossSum += loss * static_cast<double>(walked);
      images += walked;
    }
  }
  if (images > 0) outcome.loss = lossSum / static_cast<double>(images);
  return allFinite(parameters_.data(), static_cast<int64_t>(parameters_.size()));
}

double Trainer::runStep(const TrainJob& job, const Pass& pass, std::vector<Walk>& walks, double rate, TrainOutcome& outcome) {
  double loss = 0;
  for (size_t t = 0; t < pass.terms.size(); ++t) {
    const PassTerm& term = pass.terms[t];
    const int64_t n = t == 0 ? std::min(term.batchSize, walks[0].sampler.remaining()) : term.batchSize;
    loss += addTerm(term, walks[t], n, pass.trainBatchNorm, t == 0 ? gradient_.data() : termGradient_.data());
    if (t > 0) {
      for (size_t i = 0; i < gradient_.size(); ++i) gradient_[i] += termGradient_[i];
    }
    outcome.gradientImages += n;
    tick(n);
  }
  if (std::isfinite(loss)) update(job.optimizer, rate);
  return loss;
}

// Forward, loss and backward of one term's batch; overwrites gradient with the term's weighted share.
double Trainer::addTerm(const PassTerm& term, Walk& walk, int64_t n, bool trainBatchNorm, float* gradient) {
  const int64_t classes = plan_.net.numClasses;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = walk.sampler.draw();
    const size_t at = static_cast<size_t>(i);
    points_[at] = term.indices[row];
    labels_[at] = request_.data.labels[points_[at]];
    if (term.targets) std::copy_n(term.targets + row * classes, classes, targets_.data() + i * classes);
    if (walk.placer.active()) placements_[at] = walk.placer.next();
  }
  runner_.gather(n, request_.data.pixels, points_.data(), walk.placer.active() ? placements_.data() : nullptr, request_.data.mean.data(),
                 request_.data.std.data());
  runner_.forward(n, trainBatchNorm, parameters_.data());
  const double loss = kernels_.loss(term.objective, term.weight, n, classes, runner_.logits(), labels_.data(), term.targets ? targets_.data() : nullptr,
                                    runner_.logitsGradient());
  runner_.backward(n, trainBatchNorm, parameters_.data(), gradient);
  return loss;
}

void Trainer::update(const Optimizer& optimizer, double rate) {
  ++optimizerSteps_;
  const float step = static_cast<float>(rate);
  if (optimizer.kind == Optimizer::Kind::sgd) {
    kernels_.sgdStep(plan_.layout.numTrainable, step, optimizer.momentum, optimizer.weightDecay, gradient_.data(), first_.data(), parameters_.data());
  } else {
    kernels_.adamStep(plan_.layout.numTrainable, optimizerSteps_, step, optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weightDecay,
                      gradient_.data(), first_.data(), second_.data(), parameters_.data());
  }
}

// Logits after `epoch` epochs where wanted; false when one is non-finite.
bool Trainer::snapshot(const TrainJob& job, int64_t epoch) {
  const int64_t perSnapshot = request_.numEvalPoints * plan_.net.numClasses;
  for (size_t i = 0; i < request_.evalEpochs.size(); ++i) {
    if (request_.evalEpochs[i] != epoch) continue;
    float* logits = job.logits + static_cast<int64_t>(i) * perSnapshot;
    evaluate(runner_, request_.data, parameters_.data(), request_.evalPoints, request_.numEvalPoints, progress_.control, logits);
    if (!progress_.control.aborted() && !allFinite(logits, perSnapshot)) return false;
  }
  return true;
}

// Reports at most every 50 ms: a report wakes the JavaScript thread.
void Trainer::tick(int64_t images) {
  progress_.add(images);
  const auto now = std::chrono::steady_clock::now();
  if (now - lastReport_ < std::chrono::milliseconds(50)) return;
  lastReport_ = now;
  progress_.report();
}

}  // namespace lethe
