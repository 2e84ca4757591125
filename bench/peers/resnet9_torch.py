"""The ResNet-9 of the paper as a PyTorch user would write it, and its parameters in the order and shapes of Lethe's flat buffers.

Names are those of src/models/resnet9.ts, so that a tensor "block1.conv.weight" here is the tensor "block1.conv.weight" there.
"""
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Block(nn.Module):
    """Convolution without bias, BatchNorm, ReLU."""

    def __init__(self, channels_in, channels_out, kernel=3, stride=1, padding=1):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a = Block(channels, channels)
        self.b = Block(channels, channels)

    def forward(self, x):
        return x + self.b(self.a(x))


class ResNet9(nn.Module):
    def __init__(self, width=1, classes=10):
        super().__init__()
        small, middle, large = (max(1, int(count / width + 0.5)) for count in (64, 128, 256))
        self.block1 = Block(3, small)
        self.block2 = Block(small, middle, kernel=5, stride=2, padding=2)
        self.residual1 = Residual(middle)
        self.block3 = Block(middle, large)
        self.residual2 = Residual(large)
        self.block4 = Block(large, middle, padding=0)
        self.head = nn.Linear(middle, classes, bias=False)

    def forward(self, x):
        x = self.residual1(self.block2(self.block1(x)))
        x = self.residual2(F.max_pool2d(self.block3(x), 2))
        x = F.adaptive_max_pool2d(self.block4(x), 1).flatten(1)
        return 0.2 * self.head(x)


TORCH_NAMES = {"gamma": "weight", "beta": "bias", "runningMean": "running_mean", "runningVariance": "running_var"}


def _tensor(model, name):
    layer, _, last = name.rpartition(".")
    return model.state_dict(keep_vars=True)[f"{layer}.{TORCH_NAMES.get(last, last)}"]


def _order(dimensions):
    """Axes that take a tensor of ours to PyTorch's: (kernel, kernel, in, out) to (out, in, kernel, kernel), (in, out) to (out, in)."""
    return {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[dimensions]


def load_flat(model, layout, flat):
    """layout: [{name, shape, offset, size}, ...] as Engine.parameters gives it; flat: (parameters) float32."""
    with torch.no_grad():
        for entry in layout:
            values = flat[entry["offset"] : entry["offset"] + entry["size"]].reshape(entry["shape"])
            _tensor(model, entry["name"]).copy_(torch.from_numpy(values.transpose(_order(values.ndim)).copy()))


def to_flat(model, layout, gradients=False):
    """The parameters, or the gradients of the trainable ones, as one float32 vector in Lethe's order."""
    parts = []
    for entry in layout:
        tensor = _tensor(model, entry["name"])
        if gradients and tensor.grad is None:
            continue  # running means and variances
        values = (tensor.grad if gradients else tensor.detach()).float().contiguous().numpy()
        parts.append(values.transpose(np.argsort(_order(values.ndim))).ravel())
    return np.concatenate(parts)


def normalise(pixels, mean, std):
    """(n, height, width, 3) uint8 to (n, 3, height, width) float32 in channels_last order."""
    images = (pixels.astype(np.float32) / 255 - np.float32(mean)) / np.float32(std)
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def loss_of(model, images, labels, precision, label_smoothing=0.0):
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits = model(images)
    return F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)


def train_step(model, optimizer, images, labels, precision, label_smoothing=0.0):
    """One step of SGD; the loss before it."""
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(model, images, labels, precision, label_smoothing)
    loss.backward()
    optimizer.step()
    return loss.item()


def version():
    onednn = [line.split("DNN v")[1].split()[0] for line in torch.__config__.show().splitlines() if "DNN v" in line]
    found = ["torch " + torch.__version__, *(f"oneDNN {number}" for number in onednn), f"NumPy {np.__version__}"]
    return ", ".join([*found, f"Python {sys.version.split()[0]}", f"{torch.get_num_threads()} thread", *environment()])


def environment():
    """Variables that change what oneDNN does."""
    return [f"{name}={value}" for name, value in os.environ.items() if name.startswith(("DNNL_", "ONEDNN_"))]
