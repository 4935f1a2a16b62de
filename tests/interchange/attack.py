"""Which images a classifier still gets right under PGD of public libraries: attack.py CHECKPOINT HEAD IMAGES OUT NORM:EPSILON:STEP_SIZE:STEPS...

L-infinity and L2 by torchattacks, L1 by foolbox. Writes `NORM/image` and `NORM/random`, for both starts, and prints as JSON how many percent each leaves.
"""

import hashlib
import json
import sys
from importlib.metadata import version

import eagerpy
import torch
import torchattacks
from foolbox import PyTorchModel
from foolbox.attacks import SparseL1DescentAttack
from pytorch_model import load
from safetensors.torch import load_file, save_file


class Slide(SparseL1DescentAttack):
    """Projects what is outside the ball alone: as soon as one image of a batch is, the original moves those inside to its surface."""

    def project(self, x, x0, epsilon):
        x, x0 = x.raw.clone(), x0.raw
        outside = (x - x0).abs().flatten(1).sum(1) > epsilon
        if outside.any():
            x[outside] = super().project(eagerpy.astensor(x[outside]), eagerpy.astensor(x0[outside]), epsilon).raw
        return eagerpy.astensor(x)


def perturb(network, norm, epsilon, step_size, steps, random_start, images, labels):
    if norm == "l1":
        attack = Slide(abs_stepsize=step_size, steps=steps, random_start=random_start)
        return attack.run(PyTorchModel(network, bounds=(0, 1), device="cpu"), images, labels, epsilon=epsilon)
    kind = {"linf": torchattacks.PGD, "l2": torchattacks.PGDL2}[norm]
    return kind(network, eps=epsilon, alpha=step_size, steps=steps, random_start=random_start)(images, labels)


def main():
    checkpoint, head, data, out, *attacks = sys.argv[1:]
    torch.manual_seed(0)
    network, data = load(checkpoint, head), load_file(data)
    images, labels = data["images"].permute(0, 3, 1, 2).contiguous() / 255, data["labels"].long()
    right = {}
    for norm, epsilon, step_size, steps in (attack.split(":") for attack in attacks):
        for start in ["image", "random"]:
            budget = float(epsilon), float(step_size), int(steps)
            adversaries = perturb(network, norm, *budget, start == "random", images, labels)
            right[f"{norm}/{start}"] = (network(adversaries).argmax(dim=1) == labels).float()
    save_file(right, out)
    versions = {name: version(name) for name in ["torch", "torchattacks", "foolbox"]}
    accuracies = {name: 100 * images.mean().item() for name, images in right.items()}
    pixels = hashlib.sha256(data["images"].numpy().tobytes() + data["labels"].numpy().tobytes()).hexdigest()
    print(json.dumps({"n": len(labels), "seed": 0, "sha256": pixels, "attacks": attacks, "accuracy": accuracies, "versions": versions}))


if __name__ == "__main__":
    main()
