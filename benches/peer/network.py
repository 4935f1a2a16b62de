"""Encoder and projector, and the encoder in inference form."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.append(str(Path(__file__).parents[2] / "tools"))
from pytorch_model import Projector, ResNet  # noqa: E402


class Encoder(ResNet):
    """The ResNet of tools/pytorch_model.py for images that need no normalisation, which costs a pass over them."""

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean(dim=(2, 3))


class Network(nn.Module):
    """From images `[n, 3, 32, 32]` in [0, 1] to embeddings."""

    def __init__(self, recipe):
        super().__init__()
        self.model = Encoder(recipe.architecture, recipe.width)
        self.projector = Projector(self.model.features, recipe.hidden, recipe.projection)

    def forward(self, images):
        return self.projector(self.model(images))


class FoldedConv:
    """A convolution with the batch normalisation behind it (by running statistics) in its filters and a bias."""

    def __init__(self, conv, bn, dtype):
        self.conv, self.bn = conv, bn
        self.weight = torch.empty_like(conv.weight, dtype=dtype, requires_grad=False)
        self.bias = torch.empty_like(bn.bias, dtype=dtype, requires_grad=False)

    def refresh(self):
        """Takes over the current parameters and statistics."""
        scale = self.bn.weight * torch.rsqrt(self.bn.running_var + self.bn.eps)
        self.weight.copy_(self.conv.weight * scale.view(-1, 1, 1, 1))
        self.bias.copy_(self.bn.bias - self.bn.running_mean * scale)

    def __call__(self, x):
        return F.conv2d(x, self.weight, self.bias, self.conv.stride, self.conv.padding)


class Folded:
    """The encoder as convolutions, sums and ReLUs, for the attack. Filters are kept in `dtype`."""

    def __init__(self, encoder, dtype):
        self.stem = FoldedConv(encoder.conv1, encoder.bn1, dtype)
        self.blocks = []
        for block in (block for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4) for block in stage):
            numbers = [1, 2, 3] if hasattr(block, "conv3") else [1, 2]
            path = [FoldedConv(getattr(block, f"conv{n}"), getattr(block, f"bn{n}"), dtype) for n in numbers]
            self.blocks.append((path, FoldedConv(*block.shortcut, dtype) if len(block.shortcut) else None))

    @torch.no_grad()
    def refresh(self):
        """Takes over the encoder's current parameters and statistics."""
        for conv in (self.stem, *(conv for path, shortcut in self.blocks for conv in (*path, shortcut) if conv)):
            conv.refresh()

    def __call__(self, x):
        x = self.stem(x).relu_()
        for path, shortcut in self.blocks:
            y = x
            for conv in path[:-1]:
                y = conv(y).relu_()
            x = path[-1](y).add_(shortcut(x) if shortcut else x).relu_()
        return x.mean(dim=(2, 3))
