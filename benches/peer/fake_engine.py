"""Stands in for `rocl bench step` in test_peer.py: same flags and output, its step being the reference's in PyTorch."""

import argparse
import json
import tomllib
from pathlib import Path

import torch
from algorithms import Reference
from arithmetic import Arithmetic
from network import Network
from recipe import Recipe
from safetensors.torch import save_file
from timing import timed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs=2)
    for name in ("recipe", "device", "precision", "dump"):
        parser.add_argument(f"--{name}")
    for name in ("width", "batch-size", "attack-steps", "threads", "repeat", "warmup"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    table = tomllib.loads(Path(arguments.recipe).read_text())
    table["network"]["width"], table["train"]["batch_size"], table["attack"]["steps"] = (
        arguments.width,
        arguments.batch_size,
        arguments.attack_steps,
    )
    recipe = Recipe.from_table(table)
    step = Reference(Network(recipe), recipe, Arithmetic())
    x1, x2 = (torch.rand(recipe.batch_size, 3, 32, 32) for _ in range(2))
    tensors = {name: images.permute(0, 2, 3, 1).contiguous() for name, images in [("x1", x1), ("x2", x2)]}
    for name, tensor in step.network.state_dict().items():
        kind = "statistics" if "running" in name else "parameters"
        if not name.endswith("num_batches_tracked"):
            tensors[f"{kind}/{name.replace('.', '/', 1)}"] = tensor.clone()
    losses = dict(zip(("main", "regularizer", "attack"), step(x1, x2, x1).tolist()))
    if arguments.dump:
        save_file(tensors, arguments.dump, {"schema": "1", "recipe": json.dumps(table), "losses": json.dumps(losses)})
    samples = timed(step, x1, x2, arguments.repeat, x1.device)
    times = {"median": sorted(samples)[len(samples) // 2], "min": min(samples), "max": max(samples), "samples": samples}
    print(
        json.dumps(
            {
                "schema": 1,
                "kind": "step",
                "step": times,
                "losses": losses,
                "peak_memory": {"device_bytes": 0, "resident_bytes": 2**20},
            }
        )
    )


if __name__ == "__main__":
    main()
