#include "lethe/train/train.h"

#include "addon/arguments.h"
#include "addon/binding.h"
#include "addon/net_spec.h"
#include "addon/register.h"
#include "addon/task.h"

namespace lethe::addon {

namespace {

double numberOr(const Napi::Object& object, const char* name, double otherwise) { return has(object, name) ? numberProperty(object, name) : otherwise; }

std::vector<float> channels(const Napi::Object& from, const char* name) {
  const std::vector<double> values = numbersProperty(from, name);
  return {values.begin(), values.end()};
}

struct Reader {
  Napi::Env env;
  Buffers buffers;

  std::span<const int32_t> points(const Napi::Object& from, const char* name, size_t count = Buffers::kAll) {
    return buffers.input<int32_t>(property(from, name), name, count);
  }

  ImageData data(const Napi::Object& from, const NetSpec& net) {
    ImageData data;
    data.numPoints = dimensionProperty(from, "numPoints");
    const size_t numPixels = product(env, "numPoints x height x width x channels", {data.numPoints, net.height, net.width, net.channels});
    data.pixels = buffers.input<uint8_t>(property(from, "pixels"), "pixels", numPixels).data();
    data.labels = points(from, "labels", static_cast<size_t>(data.numPoints)).data();
    data.mean = channels(from, "mean");
    data.std = channels(from, "std");
    return data;
  }

  PassTerm term(const Napi::Object& from, int64_t numClasses) {
    PassTerm term;
    const std::span<const int32_t> indices = points(from, "indices");
    term.indices = indices.data();
    term.count = static_cast<int64_t>(indices.size());
    if (has(from, "targets")) {
      term.targets = buffers.input<float>(property(from, "targets"), "targets", product(env, "indices x numClasses", {term.count, numClasses})).data();
    }
    const Napi::Object objective = objectProperty(from, "objective");
    term.objective.crossEntropy = static_cast<float>(numberOr(objective, "crossEntropy", 0));
    term.objective.labelSmoothing = static_cast<float>(numberOr(objective, "labelSmoothing", 0));
    term.objective.matchLogits = static_cast<float>(numberOr(objective, "matchLogits", 0));
    term.objective.distill = static_cast<float>(numberOr(objective, "distill", 0));
    term.objective.temperature = static_cast<float>(numberOr(objective, "temperature", 1));
    term.weight = static_cast<float>(numberProperty(from, "weight"));
    term.batchSize = countProperty(from, "batchSize");
    term.samplePerEpoch = has(from, "samplePerEpoch") ? dimensionProperty(from, "samplePerEpoch") : -1;
    term.alwaysIncluded = has(from, "alwaysIncluded") ? dimensionProperty(from, "alwaysIncluded") : 0;
    return term;
  }

  Pass pass(const Napi::Object& from, int64_t numClasses) {
    Pass pass;
    if (has(from, "activeEpochs")) pass.activeEpochs = countProperty(from, "activeEpochs");
    pass.trainBatchNorm = meaningOf<bool>(property(from, "batchNorm"), "batchNorm", {{"train", true}, {"eval", false}});
    if (has(from, "augment")) {
      const Napi::Object augment = objectProperty(from, "augment");
      pass.augmentation = {countProperty(augment, "cropPadding"), booleanProperty(augment, "flip")};
    }
    for (const Napi::Object& entry : objectsProperty(from, "terms")) pass.terms.push_back(term(entry, numClasses));
    return pass;
  }

  Optimizer optimizer(const Napi::Object& from) {
    Optimizer optimizer;
    optimizer.weightDecay = static_cast<float>(numberProperty(from, "weightDecay"));
    optimizer.kind = meaningOf<Optimizer::Kind>(property(from, "kind"), "optimizer", {{"sgd", Optimizer::Kind::sgd}, {"adam", Optimizer::Kind::adam}});
    if (optimizer.kind == Optimizer::Kind::sgd) {
      optimizer.momentum = static_cast<float>(numberProperty(from, "momentum"));
      return optimizer;
    }
    optimizer.beta1 = static_cast<float>(numberProperty(from, "beta1"));
    optimizer.beta2 = static_cast<float>(numberProperty(from, "beta2"));
    optimizer.epsilon = static_cast<float>(numberProperty(from, "epsilon"));
    return optimizer;
  }

  Schedule schedule(const Napi::Object& from) {
    Schedule schedule;
    schedule.kind = meaningOf<Schedule::Kind>(property(from, "kind"), "schedule",
                                              {{"constant", Schedule::Kind::constant},
                                               {"triangle", Schedule::Kind::triangle},
                                               {"cosine", Schedule::Kind::cosine},
                                               {"exponential", Schedule::Kind::exponential},
                                               {"steps", Schedule::Kind::steps}});
    schedule.learningRate = numberProperty(from, "learningRate");
    schedule.peakEpoch = numberOr(from, "peakEpoch", 0);
    schedule.factor = numberOr(from, "factor", 1);
    if (schedule.kind == Schedule::Kind::steps) schedule.atEpochs = numbersProperty(from, "atEpochs");
    return schedule;
  }

  TrainJob job(const Napi::Object& from, const TrainRequest& request, int64_t numParameters) {
    TrainJob job;
    job.modelIndex = static_cast<uint64_t>(countProperty(from, "modelIndex"));
    job.seed = static_cast<uint64_t>(countProperty(from, "seed"));
    job.epochs = countProperty(from, "epochs");
    for (const Napi::Object& entry : objectsProperty(from, "passes")) job.passes.push_back(pass(entry, request.net.numClasses));
    job.optimizer = optimizer(objectProperty(from, "optimizer"));
    job.schedule = schedule(objectProperty(from, "schedule"));
    const size_t count = static_cast<size_t>(numParameters);
    if (has(from, "initialParameters")) job.initialParameters = buffers.input<float>(property(from, "initialParameters"), "initialParameters", count).data();
    if (has(from, "parameters")) job.parameters = buffers.output<float>(property(from, "parameters"), "parameters", count).data();
    const size_t numLogits =
        product(env, "evalEpochs x evalPoints x numClasses", {static_cast<int64_t>(request.evalEpochs.size()), request.numEvalPoints, request.net.numClasses});
    job.logits = buffers.output<float>(property(from, "logits"), "logits", numLogits).data();
    return job;
  }
};

template <typename Request>
NetDescription readCommon(const Napi::Object& from, Request& request, Reader& reader) {
  request.net = netSpec(property(from, "net"));
  NetDescription description;
  request.precision = precisionOf(property(from, "precision"));
  request.isa = isaOf(property(from, "isa"));
  const Status status = describeNet(request.net, request.isa, request.precision, 1, description);
  if (!status.ok()) throw toError(reader.env, status);
  request.gpu = gpuOf(from);
  request.threads = threadsProperty(from);
  request.data = reader.data(objectProperty(from, "data"), request.net);
  return description;
}

}  // namespace

// C++: trainMany(request, control, outcomes)     TS: trainMany(request: NativeTrainRequest, onProgress?, abortFlag?): Promise<NativeTrainOutcome[]>
static Napi::Value trainManyBinding(const Napi::CallbackInfo& info) {
  Reader reader{info.Env(), {}};
  const Napi::Object from = requestOf(info);
  auto request = std::make_shared<TrainRequest>();
  const NetDescription description = readCommon(from, *request, reader);
  const std::span<const int32_t> evalPoints = reader.points(from, "evalPoints");
  request->evalPoints = evalPoints.data();
  request->numEvalPoints = static_cast<int64_t>(evalPoints.size());
  for (const Napi::Value& epoch : listProperty(from, "evalEpochs")) request->evalEpochs.push_back(countOf(epoch, "evalEpochs"));
  for (const Napi::Object& job : objectsProperty(from, "jobs")) request->jobs.push_back(reader.job(job, *request, description.layout.numParameters));
  auto outcomes = std::make_shared<std::vector<TrainOutcome>>();
  const auto settle = [outcomes](Napi::Env env) -> Napi::Value {
    Napi::Array results = Napi::Array::New(env, outcomes->size());
    for (size_t i = 0; i < outcomes->size(); ++i) {
      const TrainOutcome& outcome = (*outcomes)[i];
      Napi::Object result = Napi::Object::New(env);
      result.Set("divergedAtEpoch", static_cast<double>(outcome.divergedAtEpoch));
      result.Set("loss", outcome.loss);
      result.Set("gradientImages", static_cast<double>(outcome.gradientImages));
      result.Set("elapsedMs", outcome.elapsedMs);
      results.Set(static_cast<uint32_t>(i), result);
    }
    return results;
  };
  return runTask(
      info.Env(), TaskOptions{info[1], info[2], std::move(reader.buffers)},
      [request, outcomes](const TaskControl& control) { return trainMany(*request, control, *outcomes); }, settle);
}

// C++: forwardMany(request, control)     TS: forwardMany(request: NativeForwardRequest, onProgress?, abortFlag?): Promise<void>
static Napi::Value forwardManyBinding(const Napi::CallbackInfo& info) {
  Reader reader{info.Env(), {}};
  const Napi::Object from = requestOf(info);
  auto request = std::make_shared<ForwardRequest>();
  const NetDescription description = readCommon(from, *request, reader);
  const std::span<const int32_t> points = reader.points(from, "points");
  request->points = points.data();
  request->numPoints = static_cast<int64_t>(points.size());
  const size_t numParameters = static_cast<size_t>(description.layout.numParameters);
  for (const Napi::Value& model : listProperty(from, "parameters")) {
    request->parameters.push_back(reader.buffers.input<float>(model, "parameters", numParameters).data());
  }
  const size_t numLogits =
      product(info.Env(), "parameters x points x numClasses", {static_cast<int64_t>(request->parameters.size()), request->numPoints, request->net.numClasses});
  request->logits = reader.buffers.output<float>(property(from, "logits"), "logits", numLogits).data();
  return runTask(
      info.Env(), TaskOptions{info[1], info[2], std::move(reader.buffers)}, [request](const TaskControl& control) { return forwardMany(*request, control); },
      settleNothing);
}

// C++: describeNet(net, isa, precision, batchSize, description)
// TS: describeNet(net: NetSpec, isa: IsaName | '', precision: Precision, batchSize: number): NetDescription
static Napi::Value describeNetBinding(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  NetDescription description;
  const Status status = describeNet(netSpec(info[0]), isaOf(info[1]), precisionOf(info[2]), countOf(info[3], "batchSize"), description);
  if (!status.ok()) throw toError(env, status);
  Napi::Object result = Napi::Object::New(env);
  result.Set("parameters", parameterTensors(env, description.layout));
  result.Set("numParameters", static_cast<double>(description.layout.numParameters));
  result.Set("numTrainable", static_cast<double>(description.layout.numTrainable));
  result.Set("multiplyAdds", static_cast<double>(description.multiplyAdds));
  result.Set("memoryBytes", static_cast<double>(description.memoryBytes));
  return result;
}

void registerTrain(Napi::Env env, Napi::Object exports) {
  define<trainManyBinding>(env, exports, "trainMany");
  define<forwardManyBinding>(env, exports, "forwardMany");
  define<describeNetBinding>(env, exports, "describeNet");
}

}  // namespace lethe::addon
