"""Outputs of a checkpoint and its head in PyTorch: forward.py CHECKPOINT HEAD IMAGES OUT."""

import sys

import torch
from pytorch_model import load
from safetensors.torch import load_file, save_file


def outputs(network, images):
    """Features, embeddings and logits of images of bytes, `[n, 32, 32, 3]`; and by these the gradient of half the sum of the logits' squares."""
    x = (images.permute(0, 3, 1, 2) / 255).requires_grad_()
    features = network.model(x)
    logits = network.linear(features)
    (gradient,) = torch.autograd.grad((logits**2).sum() / 2, x)
    found = {"features": features, "embeddings": network.projector(features), "logits": logits, "gradient": gradient.permute(0, 2, 3, 1)}
    return {name: tensor.detach().contiguous() for name, tensor in found.items()}


if __name__ == "__main__":
    checkpoint, head, images, out = sys.argv[1:]
    save_file(outputs(load(checkpoint, head), load_file(images)["images"]), out)
