"""PyTorch's side of bench/accuracy.mjs: trains one model with the recipe and prints its accuracy on the test images as JSON.

In --folder: pixels.npy (train + test, height, width, 3) uint8, labels.npy int32, request.json: {numTrain, mean, std, width, precision, seed, recipe}
with the recipe of src/types.ts (SGD, triangle). Initialisation and shuffling are PyTorch's own, from the seed.
"""
import argparse
import json
import pathlib
import time

import numpy as np
import torch

from resnet9_torch import ResNet9, normalise, train_step, version


def learning_rate(schedule, position, epochs):
    """0 -> peak at peakEpoch -> 0 at the end, linear; position in epochs."""
    peak = schedule["peakEpoch"]
    rising = position / peak if position < peak else (epochs - position) / (epochs - peak)
    return schedule["learningRate"] * max(0.0, rising)


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        right = sum((model(images[at : at + 500]).argmax(1) == labels[at : at + 500]).sum().item() for at in range(0, len(labels), 500))
    return right / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    folder = parser.parse_args().folder
    request = json.loads((folder / "request.json").read_text())
    recipe, count = request["recipe"], request["numTrain"]
    torch.set_num_threads(1)
    torch.manual_seed(request["seed"])
    images = normalise(np.load(folder / "pixels.npy"), request["mean"], request["std"])
    labels = torch.from_numpy(np.load(folder / "labels.npy").astype(np.int64))
    model = ResNet9(request["width"]).to(memory_format=torch.channels_last)
    sgd = recipe["optimizer"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=sgd["momentum"], weight_decay=sgd["weightDecay"])
    batch, epochs = recipe["batchSize"], recipe["epochs"]
    steps = -(-count // batch)
    started = time.process_time()
    for epoch in range(epochs):
        order, loss = torch.randperm(count), 0.0
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            optimizer.param_groups[0]["lr"] = learning_rate(recipe["schedule"], epoch + step / steps, epochs)
            loss += train_step(model, optimizer, images[chosen], labels[chosen], request["precision"], recipe["labelSmoothing"]) * len(chosen)
    seconds = time.process_time() - started
    result = {"accuracy": accuracy(model, images[count:], labels[count:]), "loss": loss / count, "cpuSeconds": seconds, "version": version()}
    print(json.dumps(result))


main()
