// Where the time of a training step goes: every part of every layer, measured inside real steps.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lethe/base/isa.h"
#include "lethe/base/status.h"
#include "lethe/train/kernels.h"
#include "lethe/train/net.h"

namespace lethe {

struct LayerRate {
  std::string layer;  // of the network; "step" for what belongs to none
  std::string part;   // "forward", "weight gradient", "input gradient", "backward"; of a step "images", "loss", "update"
  double seconds = 0;     // median over the steps, CPU time of one thread
  double operations = 0;  // 2 x multiply-adds of convolutions and linear layers for the whole batch; 0 elsewhere
};

// Runs steps of SGD on random images for about `seconds`, at least 5 after one that warms up, in order of execution.
// LETHE_NET_INVALID, LETHE_ARGUMENT_INVALID.
Status trainLayerRates(const NetSpec& net, Isa isa, Precision precision, int64_t batchSize, double seconds, std::vector<LayerRate>& rates);

}  // namespace lethe
