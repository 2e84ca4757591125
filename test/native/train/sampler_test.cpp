// What a training walks through: learning rates over the epochs, the order of the examples, the placements of augmented images.
#include "core/train/sampler.h"

#include <algorithm>

#include "base/check.h"

using namespace lethe;
using namespace lethe::test;

namespace {

void checkSchedules() {
  const auto near = [](double a, double b) { return std::fabs(a - b) < 1e-12; };
  const Schedule triangle{Schedule::Kind::triangle, 0.4, 5, 1, {}}, cosine{Schedule::Kind::cosine, 0.4, 5, 1, {}};
  expect(near(learningRate(triangle, 0, 24), 0) && near(learningRate(triangle, 2.5, 24), 0.2) && near(learningRate(triangle, 5, 24), 0.4) &&
             near(learningRate(triangle, 14.5, 24), 0.2) && near(learningRate(triangle, 24, 24), 0),
         "triangle");
  expect(near(learningRate(cosine, 2.5, 24), 0.2) && near(learningRate(cosine, 14.5, 24), 0.2) && near(learningRate(cosine, 24, 24), 0), "cosine");
  expect(near(learningRate({Schedule::Kind::exponential, 1, 0, 0.95, {}}, 2.9, 9), 0.95 * 0.95), "exponential moves once an epoch");
  const Schedule steps{Schedule::Kind::steps, 1, 0, 0.1, {3, 5}};
  expect(near(learningRate(steps, 2.99, 9), 1) && near(learningRate(steps, 3, 9), 0.1) && near(learningRate(steps, 5.5, 9), 0.01), "steps");
}

void checkPlacer() {
  const auto places = [](const Augmentation& augmentation) {
    Placer placer(augmentation, Random(3, Purpose::augment, 1, 2));
    std::vector<ImagePlacement> result;
    for (int k = 0; k < 2000; ++k) result.push_back(placer.next());
    return result;
  };
  const std::vector<ImagePlacement> both = places({2, true}), crops = places({2, false});
  int counts[5][5] = {}, flips = 0;
  bool same = true;
  for (size_t k = 0; k < both.size(); ++k) {
    same = same && both[k].down == crops[k].down && both[k].right == crops[k].right && !crops[k].flip;
    if (std::abs(both[k].down) <= 2 && std::abs(both[k].right) <= 2) ++counts[both[k].down + 2][both[k].right + 2];
    flips += both[k].flip;
  }
  int total = 0, least = 2000;
  for (const auto& row : counts)
    for (int count : row) total += count, least = std::min(least, count);
  expect(same, "crops do not depend on flips");
  expect(total == 2000 && least > 40 && std::abs(flips - 1000) < 110, "offsets cover [-2, 2] and half of the images are flipped");
}

void checkSampler() {
  Sampler sampler(50, 4, 10, Random(1, Purpose::shuffle, 0));
  std::vector<std::vector<int32_t>> walks(2);
  for (auto& walk : walks) {
    do walk.push_back(sampler.draw());
    while (sampler.remaining() > 0);
  }
  expect(walks[0].size() == 14 && walks[0] != walks[1], "an epoch walks through its sample, then again in another order");
  for (auto& walk : walks) std::sort(walk.begin(), walk.end());
  expect(walks[0] == walks[1] && std::adjacent_find(walks[0].begin(), walks[0].end()) == walks[0].end(), "a sample has no repeats and stays for the epoch");
  expect(std::equal(walks[0].begin(), walks[0].begin() + 4, std::begin({0, 1, 2, 3})), "alwaysIncluded rows are in every sample");
}

}  // namespace

int main() {
  checkSchedules();
  checkSampler();
  checkPlacer();
  return finish();
}
