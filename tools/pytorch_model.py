#!/usr/bin/env python3
"""RoCL's networks in plain PyTorch, and our checkpoints loaded into them.

    from pytorch_model import load
    encoder = load("run/checkpoint.safetensors").model

`encoder` is a `torch.nn.Module`, in evaluation mode, from images in [0, 1] (`[n, 3, 32, 32]`) to features; `load` gives the whole
network. Parameters have the reference's names. As a program, it writes the state dict of a checkpoint for `torch.load`:

    python tools/pytorch_model.py run/checkpoint.safetensors --head run/head.safetensors model.pt
"""

import argparse
import json
import re
import sys
import textwrap

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import nn

# Blocks per stage, and channels of a block's output over those of its inner convolutions.
RESNETS = {"resnet18": ([2, 2, 2, 2], 1), "resnet50": ([3, 4, 6, 3], 4)}
# Kinds of files with an encoder (and what was trained on it), and of those with a linear head.
ENCODERS, HEADS = ("pretrain", "classifier"), ("linear_head", "classifier")
# What the engine takes: the largest mean, and the bounds of a standard deviation.
MOST_MEAN, LEAST_STD, MOST_STD = 1000.0, 0.001, 1000.0


class Refusal(Exception):
    """What is wrong and what to do, in a sentence."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.shortcut = shortcut(inputs, width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (which has the stride) and 1x1 convolutions, the last to four times the channels, and a shortcut."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.shortcut = shortcut(inputs, 4 * width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class PreActBlock(nn.Module):
    """A basic block with batch normalisation and ReLU in front of its convolutions. A projection reads what the first ReLU gives, an identity the sum before it.

    Public code has the projection of a WRN as a convolution named convShortcut, that of a PreActResNet as a Sequential of one named shortcut.
    """

    def __init__(self, inputs, width, stride, wide=False):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width, 3)
        self.projection = None
        if inputs != width or stride != 1:
            projection = conv(inputs, width, 1, stride)
            self.projection = "convShortcut" if wide else "shortcut"
            self.add_module(self.projection, projection if wide else nn.Sequential(projection))

    def forward(self, x):
        a = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return y + (getattr(self, self.projection)(a) if self.projection else x)


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


def shortcut(inputs, outputs, stride):
    if inputs == outputs and stride == 1:
        return nn.Sequential()
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class Encoder(nn.Module):
    """A network with CIFAR's stem (3x3, stride 1, no pooling), up to the features before a classifier. Its images may be normalised."""

    def __init__(self, mean=None, std=None):
        super().__init__()
        # Not part of the state dict: they are a property of the images, recorded in the checkpoint's metadata.
        self.register_buffer("mean", torch.tensor(mean or [0.0] * 3).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or [1.0] * 3).view(3, 1, 1), persistent=False)

    def normalised(self, images):
        return (images - self.mean) / self.std


class ResNet(Encoder):
    """ResNet-18 or ResNet-50."""

    def __init__(self, architecture="resnet18", width=64, mean=None, std=None):
        super().__init__(mean, std)
        self.architecture, self.width = architecture, width
        blocks, expansion = RESNETS[architecture]
        block = BasicBlock if expansion == 1 else Bottleneck
        self.conv1, self.bn1 = conv(3, width, 3), nn.BatchNorm2d(width)
        inputs = width
        for stage, count in enumerate(blocks):
            inner = width << stage
            layers = []
            for index in range(count):
                layers.append(block(inputs, inner, 2 if stage > 0 and index == 0 else 1))
                inputs = inner * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.features = inputs

    def forward(self, images):
        x = F.relu(self.bn1(self.conv1(self.normalised(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3))


class PreActResNet(Encoder):
    """PreActResNet-18, with a batch normalisation and ReLU before the pooling."""

    def __init__(self, architecture="preactresnet18", width=64, mean=None, std=None):
        super().__init__(mean, std)
        self.architecture, self.width = architecture, width
        self.conv1 = conv(3, width, 3)
        inputs = width
        for stage in range(4):
            inner = width << stage
            self.add_module(f"layer{stage + 1}", nn.Sequential(PreActBlock(inputs, inner, 1 if stage == 0 else 2), PreActBlock(inner, inner, 1)))
            inputs = inner
        self.bn, self.features = nn.BatchNorm2d(inputs), inputs

    def forward(self, images):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(self.normalised(images))))))
        return F.relu(self.bn(x)).mean(dim=(2, 3))


class WideBlocks(nn.Module):
    """A stage of a WRN, which public code keeps under the name of `layer`."""

    def __init__(self, count, inputs, width, stride):
        super().__init__()
        first = PreActBlock(inputs, width, stride, wide=True)
        self.layer = nn.Sequential(first, *(PreActBlock(width, width, 1, wide=True) for _ in range(count - 1)))

    def forward(self, x):
        return self.layer(x)


class WideResNet(Encoder):
    """A WRN of some depth; WRN-34-10 has a first stage of width 160."""

    def __init__(self, architecture="wrn34", width=160, mean=None, std=None):
        super().__init__(mean, std)
        self.architecture, self.width = architecture, width
        count = (int(architecture.removeprefix("wrn")) - 4) // 6
        self.conv1 = conv(3, 16, 3)
        self.block1 = WideBlocks(count, 16, width, 1)
        self.block2 = WideBlocks(count, width, 2 * width, 2)
        self.block3 = WideBlocks(count, 2 * width, 4 * width, 2)
        self.bn1, self.features = nn.BatchNorm2d(4 * width), 4 * width

    def forward(self, images):
        x = self.block3(self.block2(self.block1(self.conv1(self.normalised(images)))))
        return F.relu(self.bn1(x)).mean(dim=(2, 3))


def encoder(architecture, width, mean=None, std=None):
    """The encoder of that name."""
    kind = ResNet if architecture in RESNETS else PreActResNet if architecture == "preactresnet18" else WideResNet
    return kind(architecture, width, mean, std)


class Projector(nn.Module):
    """The two-layer perceptron whose output the contrastive loss sees."""

    def __init__(self, features, hidden, projection=128):
        super().__init__()
        self.linear_1 = nn.Linear(features, hidden)
        self.linear_2 = nn.Linear(hidden, projection)

    def forward(self, features):
        return self.linear_2(F.relu(self.linear_1(features)))


class Network(nn.Module):
    """Encoder and, where there are any, projector and linear head. Gives class scores with a head, else features."""

    def __init__(self, architecture, width, hidden=None, projection=128, classes=None, mean=None, std=None):
        super().__init__()
        self.model = encoder(architecture, width, mean, std)
        self.projector = Projector(self.model.features, hidden, projection) if hidden else None
        self.linear = nn.Linear(self.model.features, classes) if classes else None

    def forward(self, images):
        features = self.model(images)
        return self.linear(features) if self.linear else features


def extent(state, name):
    """Outputs of the layer that these are the weights of."""
    if state[name].dim() == 0:
        raise Refusal(f"{name} has no extents; give the file that was written of the whole network")
    return state[name].shape[0]


def network_for(state, mean=None, std=None):
    """An untrained network of the sizes that the tensors in `state` (name: tensor) have; KeyError where a decisive one is missing."""

    def has(part):
        return any(name.startswith(f"{part}.") for name in state)

    return Network(
        architecture=architecture_of(state),
        width=width_of(state),
        hidden=extent(state, "projector.linear_1.weight") if has("projector") else None,
        projection=extent(state, "projector.linear_2.weight") if has("projector") else None,
        classes=extent(state, "linear.weight") if has("linear") else None,
        mean=mean,
        std=std,
    )


def architecture_of(state):
    """The architecture that the names in `state` are of."""
    if "model.block1.layer.0.conv1.weight" in state:
        blocks = sum(re.fullmatch(r"model\.block1\.layer\.\d+\.conv1\.weight", name) is not None for name in state)
        return f"wrn{6 * blocks + 4}"
    if "model.layer1.0.conv3.weight" in state:
        return "resnet50"
    # The stem has a batch normalisation of its own only where that comes behind convolutions.
    return "resnet18" if "model.bn1.weight" in state else "preactresnet18"


def width_of(state):
    """Channels of the first stage."""
    wide = architecture_of(state).startswith("wrn")
    return extent(state, "model.block1.layer.0.conv1.weight" if wide else "model.conv1.weight")


def read(path, kinds):
    """The network's tensors and the metadata of a checkpoint of one of the `kinds`; names as in PyTorch's state dict."""
    with safe_open(path, framework="pt") as file:
        meta = file.metadata() or {}
        if meta.get("format") != "rocl" or meta.get("kind") not in kinds:
            raise Refusal(f"{path} is no {' or '.join(kinds)} checkpoint of rocl; give a file that rocl wrote")
        # The rest is for continuing the run.
        names = [name for name in file.keys() if not name.startswith(("optimizer/", "run/"))]
        return {name.replace("/", ".", 1): file.get_tensor(name) for name in names}, meta


def normalization(meta):
    """What images are normalised by, `{"mean": ..., "std": ...}` or empty: an import states it by itself, a run in its recipe."""
    try:
        if "normalization" in meta:
            return normalization_of(json.loads(meta["normalization"]))
        stated = json.loads(meta["recipe"])["network"].get("normalization")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Refusal("the checkpoint's metadata has no readable recipe or normalization; give a file that rocl wrote") from error
    return {} if stated is None else normalization_of(stated)


def projects(meta):
    """Whether the run had a projector; recipes from before there was a choice do not say so."""
    return json.loads(meta.get("recipe", "{}")).get("network", {}).get("projector", True)


def normalization_of(stated):
    """`stated`, if it is three means and three standard deviations that the engine takes."""

    def three(key, least, most):
        # Not a boolean, which is a number in Python; and NaN is in no range.
        numbers = stated[key]
        return isinstance(numbers, list) and len(numbers) == 3 and all(type(n) in (int, float) and least <= n <= most for n in numbers)

    if not isinstance(stated, dict) or set(stated) != {"mean", "std"}:
        raise Refusal("a normalization is a mean and a std, and nothing else; give both, of three numbers each")
    if not three("mean", -MOST_MEAN, MOST_MEAN):
        raise Refusal(f"the mean has to be three numbers of at most {MOST_MEAN:g}; give those that the images had subtracted")
    if not three("std", LEAST_STD, MOST_STD):
        raise Refusal(f"the std has to be three numbers from {LEAST_STD} to {MOST_STD:g}; give those that the images were divided by")
    return stated


def load(checkpoint, head=None):
    """The network of a checkpoint, in evaluation mode, with the linear head of another file or, of a classifier, its own. Every tensor
    must be there, and none besides."""
    return load_with_normalization(checkpoint, head)[0]


def load_with_normalization(checkpoint, head):
    state, meta = read(checkpoint, ENCODERS)
    if head:
        state |= {name: tensor for name, tensor in read(head, HEADS)[0].items() if name.startswith("linear.")}
    stated = normalization(meta)
    for part, kind, wanted in (("projector", "pretrain", projects(meta)), ("linear", "classifier", True)):
        if meta["kind"] == kind and wanted and not any(name.startswith(f"{part}.") for name in state):
            raise KeyError(f"{part}.*")
    network = network_for(state, **stated)
    network.load_state_dict(state, strict=True)
    return network.eval(), stated


def export(arguments):
    """Writes the state dict: bare, or where images are normalised beside what by, so that nobody uses one without the other."""
    files = " and ".join(filter(None, (arguments.checkpoint, arguments.head)))
    try:
        network, stated = load_with_normalization(arguments.checkpoint, arguments.head)
    except (OSError, SafetensorError) as error:
        raise Refusal(f"{files} cannot be read ({in_a_line(error)}); check the path, or give a file that rocl wrote") from error
    except KeyError as error:
        raise Refusal(f"{files} cannot be loaded (there is no {error.args[0]}); give a file that rocl wrote") from error
    except (ValueError, RuntimeError) as error:
        raise Refusal(f"{files} cannot be loaded ({in_a_line(error)}); give files that rocl wrote of one network") from error
    content = network.state_dict()
    if stated:
        content = {"state_dict": content, "normalization": stated}
        flags = " ".join(f"--{name} {' '.join(map(str, stated[name]))}" for name in ("mean", "std"))
        print(f"note: the model's images are normalised, by {flags}; the file has that under `normalization`", file=sys.stderr)
    try:
        torch.save(content, arguments.out)
    except (OSError, RuntimeError) as error:
        raise Refusal(f"{arguments.out} cannot be written ({in_a_line(error)}); choose another file") from error


def in_a_line(error):
    return textwrap.shorten(str(error), 300)


def main():
    parser = argparse.ArgumentParser(description="Write a checkpoint of rocl as a PyTorch state dict.")
    parser.add_argument("checkpoint", help="from `rocl pretrain`, `train` or `finetune`")
    parser.add_argument("--head", help="from `rocl linear-eval`; a classifier has its own")
    parser.add_argument("out", help="the file to write, for torch.load")
    try:
        export(parser.parse_args())
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")


if __name__ == "__main__":
    main()
