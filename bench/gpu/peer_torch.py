"""PyTorch's side of the GPU benchmark: the same ResNet-9, whole training steps of one model on one GPU. Prints one JSON document.

channels_last, bf16 autocast, torch.compile (plain where that fails, which the row says), cuDNN's benchmark mode, fused SGD. Images lie normalised on the
GPU; timed: picking the batch's images, forward, cross-entropy, backward, SGD step. No value is read back within the timed steps.
"""
import argparse
import json
import pathlib
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
from resnet9_torch import ResNet9, normalise  # noqa: E402

EPOCHS, TRAIN_IMAGES, DISTINCT_BATCHES = 24, 25000, 4


def random_images(count):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    images = normalise(pixels, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)).cuda().to(memory_format=torch.channels_last)
    return images, torch.from_numpy(generator.integers(0, 10, count)).cuda()


def rate(width, batch, seconds, compiled):
    torch.manual_seed(0)
    images, labels = random_images(DISTINCT_BATCHES * batch)
    model = ResNet9(width).cuda().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4, fused=True)
    forward = torch.compile(model, mode="max-autotune") if compiled else model
    order = torch.randperm(len(labels), device="cuda")

    def steps(number):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for step in range(number):
            chosen = order[step % DISTINCT_BATCHES * batch :][:batch]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                logits = forward(images[chosen].contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), labels[chosen])
            loss.backward()
            optimizer.step()
        torch.cuda.synchronize()
        if not torch.isfinite(loss):
            raise RuntimeError("the loss is not finite")
        return time.perf_counter() - started

    steps(10)  # kernels are compiled and chosen on first use
    number = max(20, int(seconds / (steps(10) / 10)))
    images_per_second = number * batch / steps(number)
    return {
        "name": "torch",
        "net": "resnet9" if width == 1 else f"resnet9/{width}",
        "precision": "bf16",
        "compiled": compiled,
        "batchSize": batch,
        "steps": number,
        "imagesPerSecond": images_per_second,
        "secondsPerModel": EPOCHS * TRAIN_IMAGES / images_per_second,  # by this rate, without evaluation
    }


def row(width, batch, seconds):
    try:
        return rate(width, batch, seconds, compiled=True)
    except Exception as error:  # what torch.compile raises depends on what is missing (Triton, a C compiler)
        print(f"torch.compile failed, plain PyTorch instead: {error}", file=sys.stderr)
        return rate(width, batch, seconds, compiled=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="1,4,8")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=5.0, help="of timed steps for each width")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU.")
    torch.backends.cudnn.benchmark = True
    results = []
    for width in options.widths.split(","):
        results.append(row(int(width), options.batch, options.seconds))
        print(json.dumps(results[-1]), file=sys.stderr)
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "gpu": torch.cuda.get_device_name()}
    print(json.dumps({"document": "lethe.bench-gpu-torch", "version": 1, "versions": versions, "results": results}))


main()
