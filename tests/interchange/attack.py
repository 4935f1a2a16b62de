"""Which images a classifier still gets right under PGD of torchattacks: attack.py CHECKPOINT HEAD IMAGES OUT EPSILON STEP_SIZE STEPS."""

import sys

import torch
import torchattacks
from pytorch_model import load
from safetensors.torch import load_file, save_file


def main():
    checkpoint, head, data, out, epsilon, step_size, steps = sys.argv[1:]
    torch.manual_seed(0)
    network, data = load(checkpoint, head), load_file(data)
    images, labels = data["images"].permute(0, 3, 1, 2) / 255, data["labels"].long()
    right = {}
    for name, random_start in [("fixed_start", False), ("random_start", True)]:
        attack = torchattacks.PGD(network, eps=float(epsilon), alpha=float(step_size), steps=int(steps), random_start=random_start)
        right[name] = (network(attack(images, labels)).argmax(dim=1) == labels).float()
    save_file(right, out)


if __name__ == "__main__":
    main()
