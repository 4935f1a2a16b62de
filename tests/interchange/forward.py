"""Outputs of a checkpoint and its head in PyTorch: forward.py CHECKPOINT HEAD IMAGES OUT. HEAD is empty where the checkpoint has its own."""

import sys

import torch
from pytorch_model import load
from safetensors.torch import load_file, save_file


def outputs(network, images):
    """Features, logits and, with a projector, embeddings of images of bytes, `[n, 32, 32, 3]`."""
    with torch.no_grad():
        features = network.model(images.permute(0, 3, 1, 2) / 255)
        embeddings = {"embeddings": network.projector(features)} if network.projector else {}
        return {"features": features, "logits": network.linear(features)} | embeddings


if __name__ == "__main__":
    checkpoint, head, images, out = sys.argv[1:]
    save_file(outputs(load(checkpoint, head), load_file(images)["images"]), out)
