"""Random networks, saved as others save theirs, with their outputs: export.py STYLE ARCHITECTURE IMAGES FOLDER.

Writes `model.pt` (for the authors' style also `projector.pt` and `linear.pt`), `expected.safetensors`, and, in torchvision's style of the bare
encoder, some files that nobody can import and one that is unusual.
"""

import argparse
import re
import sys
from pathlib import Path

import torch
from forward import outputs
from pytorch_model import Network, encoder
from safetensors.torch import load_file, save_file


def random_network(architecture):
    """Of width 4, with statistics and scales that are not the initial ones."""
    torch.manual_seed(1)
    network = Network(architecture, width=4, hidden=48, classes=7)
    for name, tensor in network.state_dict().items():
        if "bn" in name or "shortcut.1" in name:
            if name.endswith(("weight", "running_var")):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("bias", "running_mean")):
                tensor.uniform_(-0.5, 0.5)
    return network.eval()


def part(state, name):
    """The tensors of one part, without its name."""
    return {key.removeprefix(name + "."): tensor for key, tensor in state.items() if key.startswith(name + ".")}


def files(style, state):
    """What a file of that style holds, by file."""
    model, linear = part(state, "model"), part(state, "linear")
    if style == "rocl":
        # One file for each part, saved from DistributedDataParallel; the head is a Sequential of one layer.
        parts = {"model": model, "projector": part(state, "projector"), "linear": {f"0.{k}": v for k, v in linear.items()}}
        return {name: {"epoch": 3, "model": {f"module.{k}": v for k, v in tensors.items()}} for name, tensors in parts.items()}
    if style == "pytorch-cifar":
        whole = model | {f"linear.{k}": v for k, v in linear.items()}
        return {"model": {"net": {f"module.{k}": v for k, v in whole.items()}, "acc": 93.0, "epoch": 200}}
    if style == "wrn":
        # The stage that is never called is larger than this in the code of TRADES; what is in it does not matter.
        never_called = {f"sub_{k}": torch.zeros_like(v) for k, v in model.items() if k.startswith("block1.")}
        return {"model": model | never_called | {f"fc.{k}": v for k, v in linear.items()}}
    renamed = {re.sub(r"\.shortcut\.", ".downsample.", k): v for k, v in model.items()}
    return {"model": renamed | {f"fc.{k}": v for k, v in linear.items()}}


def main():
    style, architecture, images, folder = sys.argv[1:]
    folder = Path(folder)
    network = random_network(architecture)
    for name, content in files(style, network.state_dict()).items():
        torch.save(content, folder / f"{name}.pt")
    save_file(outputs(network, load_file(images)["images"]), folder / "expected.safetensors")

    if style == "torchvision":
        unusual(architecture, network, folder)


def unusual(architecture, network, folder):
    """Files that nobody can import, and one that is taken."""
    bare = files("torchvision", network.state_dict())["model"]
    torch.save({"config": argparse.Namespace(width=4)}, folder / "objects.pt")
    torch.save({k: v for k, v in bare.items() if k != "layer4.1.bn2.running_var"}, folder / "incomplete.pt")
    torch.save(bare | {"conv1.weight": torch.zeros(4, 3, 7, 7)}, folder / "imagenet_stem.pt")
    torch.save(bare | {"conv1.weight": torch.full((4, 3, 3, 3), torch.inf)}, folder / "infinite.pt")
    torch.save(bare | {"fc.weight": torch.zeros(())}, folder / "scalar.pt")
    stem = bare["conv1.weight"]
    unusable = {"bytes": stem.to(torch.int8), "sparse": stem.to_sparse(), "empty": stem.to("meta")}
    for name, weights in unusable.items():
        torch.save(bare | {"conv1.weight": weights}, folder / f"{name}.pt")
    torch.save(dict(enumerate(bare.values())), folder / "numbered.pt")
    torch.save({"state_dict": bare, "normalization": {"mean": [0.0] * 3, "std": [0.5, 0.5, 0.0]}}, folder / "normalized_by_zero.pt")
    wide = {"linear_1.weight": torch.zeros(48, network.model.features), "linear_1.bias": torch.zeros(48)}
    wide |= {"linear_2.weight": torch.zeros(65537, 48), "linear_2.bias": torch.zeros(65537)}
    torch.save(part(network.state_dict(), "model") | wide, folder / "wide_projector.pt")
    others = {name: encoder(name, 4).state_dict() for name in ("preactresnet18", "wrn16")}
    torch.save({k: v for k, v in others["preactresnet18"].items() if not k.startswith("bn.")}, folder / "no_last_norm.pt")
    torch.save(others["wrn16"], folder / "wrn.pt")
    torch.save({k: v for k, v in others["wrn16"].items() if not k.startswith("block3.layer.1.")}, folder / "uneven_wrn.pt")
    shared = bare | {"layer1.0.bn1.weight": bare["layer1.0.bn2.weight"]}
    torch.save({"model": architecture, "state_dict": shared}, folder / "named_and_shared.pt")


if __name__ == "__main__":
    main()
