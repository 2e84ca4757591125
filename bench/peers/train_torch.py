"""PyTorch's side of `lethe bench train`: the same ResNet-9, whole training steps on one core. Prints one JSON.

--folder holds request.json, and for a check also parameters.npy (float32, Lethe's flat order), pixels.npy (n, height, width, 3) uint8, labels.npy.
check  {width, layout, mean, std, batchSize, learningRate, momentum, weightDecay, precision}: writes gradient.npy, of the first batch, and
       updated.npy, the parameters after one step a batch; prints the losses.
time   {width, batchSize, precisions, seconds}: images a CPU second, about so many seconds of steps for each precision.
Timed: picking the batch's images (normalised before), forward, loss, backward, SGD step.
"""
import argparse
import json
import pathlib
import time

import numpy as np
import torch

from resnet9_torch import ResNet9, load_flat, loss_of, normalise, to_flat, train_step, version

DISTINCT_BATCHES = 4


def channels_last_net(width):
    return ResNet9(width).to(memory_format=torch.channels_last).train()


def sgd(model, learning_rate, momentum=0.9, weight_decay=5e-4):
    return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay)


def check(folder, request):
    images = normalise(np.load(folder / "pixels.npy"), request["mean"], request["std"])
    labels = torch.from_numpy(np.load(folder / "labels.npy").astype(np.int64))
    initial, layout, batch = np.load(folder / "parameters.npy"), request["layout"], request["batchSize"]
    model = channels_last_net(request["width"])
    load_flat(model, layout, initial)
    loss_of(model, images[:batch], labels[:batch], request["precision"]).backward()
    np.save(folder / "gradient.npy", to_flat(model, layout, gradients=True))
    load_flat(model, layout, initial)  # running statistics have moved
    optimizer = sgd(model, request["learningRate"], request["momentum"], request["weightDecay"])
    losses = [
        train_step(model, optimizer, images[at : at + batch], labels[at : at + batch], request["precision"])
        for at in range(0, len(labels), batch)
    ]
    np.save(folder / "updated.npy", to_flat(model, layout))
    return {"losses": losses}


def rate(width, batch, precision, seconds):
    generator = np.random.default_rng(0)
    count = DISTINCT_BATCHES * batch
    images = normalise(generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    labels = torch.from_numpy(generator.integers(0, 10, count))
    model = channels_last_net(width)
    optimizer = sgd(model, 1e-3)
    order = torch.randperm(count)

    def steps(number):
        started = time.process_time()
        for step in range(number):
            chosen = order[step % DISTINCT_BATCHES * batch :][:batch]
            train_step(model, optimizer, images[chosen], labels[chosen], precision)
        return time.process_time() - started

    steps(1)  # kernels are compiled on first use
    number = max(2, int(seconds / steps(1)) + 1)
    return {"precision": precision, "imagesPerCpuSecond": number * batch / steps(number), "steps": number}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["check", "time"])
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    options = parser.parse_args()
    request = json.loads((options.folder / "request.json").read_text())
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.mode == "check":
        result = check(options.folder, request)
    else:
        given = request["width"], request["batchSize"]
        result = {"rates": [rate(*given, precision, request["seconds"]) for precision in request["precisions"]]}
    print(json.dumps({"version": version(), **result}))


main()
