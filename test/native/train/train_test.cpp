// The whole network against an independent double-precision network, that network against finite differences, and short trainings
// of both, step for step.
#include "train/net_check.h"

using namespace lethe;
using namespace lethe::test;

namespace {

// The reference's own gradients, by central differences at a few places of every tensor.
void checkReference(const Case& test, const Objective& objective, bool train) {
  const double step = 1e-6;
  NetReference model(test.net);
  const Parameters start = named(test.plan.layout, test.flat);
  Parameters moved = start;
  Values dLogits, unused;
  model.forward(test.images(), train, moved);
  test.referenceLoss(objective.weights, 1, train, start, dLogits);
  const Parameters gradients = model.backward(dLogits, start);
  for (const auto& [name, values] : gradients) {
    for (size_t k = 0; k < values.size(); k += std::max<size_t>(1, values.size() / 2)) {
      Parameters up = start, down = start;
      up[name][k] += step;
      down[name][k] -= step;
      const double numeric =
          (test.referenceLoss(objective.weights, 1, train, up, unused) - test.referenceLoss(objective.weights, 1, train, down, unused)) / (2 * step);
      expect(std::fabs(numeric - values[k]) < 2e-6 * (1 + std::fabs(values[k])), test.net.name + ", " + objective.name + ", reference gradient of " + name +
                                                                                     ": " + std::to_string(values[k]) + " but numerically " +
                                                                                     std::to_string(numeric));
    }
  }
}

// One image and one pixel: the variance is of one value, and nothing may become NaN.
void checkSingleValueNorm() {
  NetSpec net{"single", 2, 2, 2, 3, {}};
  net.layers = {conv("c1", "image", 4, 2, 1, 0), layer(LayerOp::batchNorm, "n1", {"c1"}), layer(LayerOp::globalMaxPool, "pool", {"n1"}),
                head("logits", "pool", true)};
  Case test(net);
  test.numPoints = 1;
  TestedNet tested(test, test.plan, cpuBackend(availableIsas().back()));
  tested.run({1, 0, 0, 0, 1}, true);
  const auto finite = [](float value) { return std::isfinite(value); };
  expect(std::all_of(tested.gradient.begin(), tested.gradient.end(), finite) && std::all_of(tested.parameters.begin(), tested.parameters.end(), finite),
         "a norm over one value stays finite");
}

// Errors that no shape check of a well-formed net would meet.
void checkRefusals() {
  NetSpec unused = residualNet(), huge = residualNet(), renamed = residualNet();
  unused.layers.insert(unused.layers.begin() + 3, conv("extra", "r1", 4, 1, 1, 0));
  huge.layers[0].outChannels = int64_t{1} << 40;
  renamed.layers[5].inputs = {"later"};
  for (const auto& [net, name] : {std::pair{unused, "\"extra\""}, std::pair{huge, "\"c1\""}, std::pair{renamed, "\"later\""}}) {
    NetPlan plan;
    const Status status = compileNet(net, Precision::fp32, plan);
    expect(status.code == "LETHE_NET_INVALID" && status.message.find(name) != std::string::npos,
           "refuses a net and names " + std::string(name) + ": " + status.message);
  }
}

}  // namespace

int main() {
  std::vector<Target> targets;
  for (Isa isa : availableIsas()) targets.push_back({isaName(isa), isa, nullptr});
  for (const NetSpec& net : {residualNet(), tangledNet(), basicBlockNet(), vectorNet()}) {
    Case test(net);
    for (const Objective& objective : objectives()) {
      for (const bool train : {true, false}) {
        for (const Target& target : targets) checkGradients(test, objective, train, target), checkBf16Gradients(test, objective, train, target);
        checkReference(test, objective, train);
      }
    }
    for (const Target& target : targets) {
      checkTrajectory(test, testSgd(), "SGD", target);
      checkTrajectory(test, testAdam(), "Adam", target);
    }
  }
  checkSingleValueNorm();
  checkRefusals();
  return finish();
}
