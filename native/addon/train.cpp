#include "lethe/train.h"

#include "net_spec.h"
#include "task.h"

namespace lethe::addon {

namespace {

int64_t length(const Napi::Value& value) { return value.IsTypedArray() ? static_cast<int64_t>(value.As<Napi::TypedArray>().ElementLength()) : 0; }

double numberOr(const Napi::Object& object, const char* name, double otherwise) {
  return property(object, name).IsUndefined() ? otherwise : numberProperty(object, name);
}

// Pins every buffer it hands out.
struct Reader {
  Napi::Env env;
  TaskOptions& task;

  const Napi::Value& pin(const Napi::Value& value) { return task.pins.emplace_back(value); }

  ImageData data(const Napi::Object& from, const NetSpec& net) {
    ImageData data;
    data.numPoints = countProperty(from, "numPoints");
    const size_t numPixels = static_cast<size_t>(data.numPoints * net.height * net.width * net.channels);
    data.pixels = bytes(pin(property(from, "pixels")), "pixels", numPixels);
    data.labels = ints(pin(property(from, "labels")), "labels", static_cast<size_t>(data.numPoints));
    for (const char* name : {"mean", "std"}) {
      const Napi::Array values = property(from, name).As<Napi::Array>();
      std::vector<float>& to = name[0] == 'm' ? data.mean : data.std;
      for (uint32_t i = 0; i < values.Length(); ++i) to.push_back(values.Get(i).ToNumber().FloatValue());
    }
    return data;
  }

  PassTerm term(const Napi::Object& from, int64_t numClasses) {
    PassTerm term;
    const Napi::Value indices = property(from, "indices"), targets = property(from, "targets");
    term.indices = ints(pin(indices), "indices", 0);
    term.count = length(indices);
    if (!targets.IsUndefined()) term.targets = floats(pin(targets), "targets", static_cast<size_t>(term.count * numClasses));
    const Napi::Object objective = property(from, "objective").As<Napi::Object>();
    term.objective.crossEntropy = static_cast<float>(numberOr(objective, "crossEntropy", 0));
    term.objective.labelSmoothing = static_cast<float>(numberOr(objective, "labelSmoothing", 0));
    term.objective.matchLogits = static_cast<float>(numberOr(objective, "matchLogits", 0));
    term.objective.distill = static_cast<float>(numberOr(objective, "distill", 0));
    term.objective.temperature = static_cast<float>(numberOr(objective, "temperature", 1));
    term.weight = static_cast<float>(numberProperty(from, "weight"));
    term.batchSize = countProperty(from, "batchSize");
    term.samplePerEpoch = property(from, "samplePerEpoch").IsUndefined() ? -1 : countProperty(from, "samplePerEpoch");
    term.alwaysIncluded = property(from, "alwaysIncluded").IsUndefined() ? 0 : countProperty(from, "alwaysIncluded");
    return term;
  }

  Pass pass(const Napi::Object& from, int64_t numClasses) {
    Pass pass;
    if (!property(from, "activeEpochs").IsUndefined()) pass.activeEpochs = countProperty(from, "activeEpochs");
    pass.trainBatchNorm = stringProperty(from, "batchNorm") == "train";
    if (!property(from, "augment").IsUndefined()) {
      const Napi::Object augment = property(from, "augment").As<Napi::Object>();
      pass.augmentation = {countProperty(augment, "cropPadding"), booleanProperty(augment, "flip")};
    }
    const Napi::Array terms = property(from, "terms").As<Napi::Array>();
    for (uint32_t i = 0; i < terms.Length(); ++i) pass.terms.push_back(term(terms.Get(i).As<Napi::Object>(), numClasses));
    return pass;
  }

  Optimizer optimizer(const Napi::Object& from) {
    Optimizer optimizer;
    optimizer.weightDecay = static_cast<float>(numberProperty(from, "weightDecay"));
    if (stringProperty(from, "kind") == "sgd") {
      optimizer.momentum = static_cast<float>(numberProperty(from, "momentum"));
      return optimizer;
    }
    optimizer.kind = Optimizer::Kind::adam;
    optimizer.beta1 = static_cast<float>(numberProperty(from, "beta1"));
    optimizer.beta2 = static_cast<float>(numberProperty(from, "beta2"));
    optimizer.epsilon = static_cast<float>(numberProperty(from, "epsilon"));
    return optimizer;
  }

  Schedule schedule(const Napi::Object& from) {
    Schedule schedule;
    const std::string kind = stringProperty(from, "kind");
    schedule.kind = kind == "triangle"      ? Schedule::Kind::triangle
                    : kind == "cosine"      ? Schedule::Kind::cosine
                    : kind == "exponential" ? Schedule::Kind::exponential
                    : kind == "steps"       ? Schedule::Kind::steps
                                            : Schedule::Kind::constant;
    schedule.learningRate = numberProperty(from, "learningRate");
    schedule.peakEpoch = numberOr(from, "peakEpoch", 0);
    schedule.factor = numberOr(from, "factor", 1);
    if (kind == "steps") {
      const Napi::Array epochs = property(from, "atEpochs").As<Napi::Array>();
      for (uint32_t i = 0; i < epochs.Length(); ++i) schedule.atEpochs.push_back(epochs.Get(i).ToNumber().DoubleValue());
    }
    return schedule;
  }

  TrainJob job(const Napi::Object& from, const TrainRequest& request, int64_t numParameters) {
    TrainJob job;
    job.modelIndex = static_cast<uint64_t>(countProperty(from, "modelIndex"));
    job.seed = static_cast<uint64_t>(countProperty(from, "seed"));
    job.epochs = countProperty(from, "epochs");
    const Napi::Array passes = property(from, "passes").As<Napi::Array>();
    for (uint32_t i = 0; i < passes.Length(); ++i) job.passes.push_back(pass(passes.Get(i).As<Napi::Object>(), request.net.numClasses));
    job.optimizer = optimizer(property(from, "optimizer").As<Napi::Object>());
    job.schedule = schedule(property(from, "schedule").As<Napi::Object>());
    const Napi::Value initial = property(from, "initialParameters"), parameters = property(from, "parameters");
    const size_t count = static_cast<size_t>(numParameters);
    if (!initial.IsUndefined()) job.initialParameters = floats(pin(initial), "initialParameters", count);
    if (!parameters.IsUndefined()) job.parameters = floats(pin(parameters), "parameters", count);
    const size_t numLogits = request.evalEpochs.size() * static_cast<size_t>(request.numEvalPoints * request.net.numClasses);
    job.logits = floats(pin(property(from, "logits")), "logits", numLogits);
    return job;
  }
};

TaskOptions taskOptions(const Napi::CallbackInfo& info) { return {info[1], info[2], {}}; }

template <typename Request>
NetDescription readCommon(const Napi::Object& from, Request& request, Reader& reader) {
  request.net = netSpec(property(from, "net"));
  NetDescription description;
  request.precision = precisionOf(stringProperty(from, "precision"));
  Status status = resolveIsa(stringProperty(from, "isa"), request.isa);
  if (status.ok()) status = describeNet(request.net, request.isa, request.precision, 1, description);
  if (!status.ok()) throw toError(reader.env, status);
  request.gpu = gpuOf(from);
  request.threads = static_cast<int>(countProperty(from, "threads"));
  request.data = reader.data(property(from, "data").As<Napi::Object>(), request.net);
  return description;
}

}  // namespace

// C++: trainMany(request, control, outcomes)     TS: trainMany(request: NativeTrainRequest, onProgress?, abortFlag?): Promise<NativeTrainOutcome[]>
static Napi::Value trainManyBinding(const Napi::CallbackInfo& info) {
  TaskOptions task = taskOptions(info);
  Reader reader{info.Env(), task};
  const Napi::Object from = info[0].As<Napi::Object>();
  auto request = std::make_shared<TrainRequest>();
  const NetDescription description = readCommon(from, *request, reader);
  const Napi::Value evalPoints = property(from, "evalPoints");
  request->evalPoints = ints(reader.pin(evalPoints), "evalPoints", 0);
  request->numEvalPoints = length(evalPoints);
  const Napi::Array epochs = property(from, "evalEpochs").As<Napi::Array>();
  for (uint32_t i = 0; i < epochs.Length(); ++i) request->evalEpochs.push_back(epochs.Get(i).ToNumber().Int64Value());
  const Napi::Array jobs = property(from, "jobs").As<Napi::Array>();
  for (uint32_t i = 0; i < jobs.Length(); ++i) {
    request->jobs.push_back(reader.job(jobs.Get(i).As<Napi::Object>(), *request, description.layout.numParameters));
  }
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
  return runTask(info.Env(), task, [request, outcomes](const TaskControl& control) { return trainMany(*request, control, *outcomes); }, settle);
}

// C++: forwardMany(request, control)     TS: forwardMany(request: NativeForwardRequest, onProgress?, abortFlag?): Promise<void>
static Napi::Value forwardManyBinding(const Napi::CallbackInfo& info) {
  TaskOptions task = taskOptions(info);
  Reader reader{info.Env(), task};
  const Napi::Object from = info[0].As<Napi::Object>();
  auto request = std::make_shared<ForwardRequest>();
  const NetDescription description = readCommon(from, *request, reader);
  const Napi::Value points = property(from, "points"), logits = property(from, "logits");
  request->points = ints(reader.pin(points), "points", 0);
  request->numPoints = length(points);
  const Napi::Array parameters = property(from, "parameters").As<Napi::Array>();
  for (uint32_t i = 0; i < parameters.Length(); ++i) {
    request->parameters.push_back(floats(reader.pin(parameters.Get(i)), "parameters", static_cast<size_t>(description.layout.numParameters)));
  }
  request->logits = floats(reader.pin(logits), "logits", request->parameters.size() * static_cast<size_t>(request->numPoints * request->net.numClasses));
  return runTask(info.Env(), task, [request](const TaskControl& control) { return forwardMany(*request, control); },
                 [](Napi::Env env) -> Napi::Value { return env.Undefined(); });
}

// C++: describeNet(net, isa, precision, batchSize, description)
// TS: describeNet(net: NetSpec, isa: IsaName | '', precision: Precision, batchSize: number): NetDescription
static Napi::Value describeNetBinding(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  NetDescription description;
  Isa isa;
  Status status = resolveIsa(info[1].ToString(), isa);
  if (status.ok()) status = describeNet(netSpec(info[0]), isa, precisionOf(info[2].ToString()), info[3].ToNumber().Int64Value(), description);
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
  exports.Set("trainMany", Napi::Function::New(env, trainManyBinding));
  exports.Set("forwardMany", Napi::Function::New(env, forwardManyBinding));
  exports.Set("describeNet", Napi::Function::New(env, describeNetBinding));
}

}  // namespace lethe::addon
