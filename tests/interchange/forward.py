"""Outputs of a checkpoint and its head in PyTorch: forward.py CHECKPOINT HEAD IMAGES OUT. HEAD is empty where the checkpoint has its own."""

import sys

import torch
from pytorch_model import load
from safetensors.torch import load_file, save_file


def outputs(network, images):
    """Features, logits and, with a projector, embeddings of images of bytes, `[n, 32, 32, 3]`; and the gradient, by these, of half the sum of the logits' squares."""
    x = (images.permute(0, 3, 1, 2) / 255).requires_grad_()
    features = network.model(x)
    logits = network.linear(features)
    (gradient,) = torch.autograd.grad((logits**2).sum() / 2, x, retain_graph=True)
    found = {"features": features, "logits": logits, "gradient": gradient.permute(0, 2, 3, 1)}
    if network.projector:
        found["embeddings"] = network.projector(features)
    return {name: tensor.detach().contiguous() for name, tensor in found.items()}


if __name__ == "__main__":
    checkpoint, head, images, out = sys.argv[1:]
    save_file(outputs(load(checkpoint, head), load_file(images)["images"]), out)
