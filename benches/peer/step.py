#!/usr/bin/env python3
"""Times a step of RoCL's pretraining in PyTorch, for `compare.py`.

    python benches/peer/step.py --algorithm ours --fold --channels-last --threads 2

A step begins with two views: augmentation is left out, and with it what it costs. Prints one JSON object, times in seconds.
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
import sys
from pathlib import Path

import torch
from algorithms import Ours, Reference
from arithmetic import PRECISIONS, Arithmetic
from authors import Released
from inputs import Inputs
from network import Network
from pytorch_model import RESNETS
from recipe import preset
from safetensors import SafetensorError
from timing import Captured, Memory, timed

MODES = ["eager", "compile", "graph", "compile-graph"]


def build(arguments, recipe, arithmetic, compiles):
    """The step, not captured yet, and its network."""
    torch.manual_seed(0)
    if arguments.authors:
        step = Released(arguments.authors, recipe, arithmetic)
        return step, step.network
    network = Network(recipe).to(arithmetic.device, memory_format=arithmetic.memory_format)

    def compiled(function):
        return torch.compile(function, dynamic=False) if compiles else function

    if arguments.algorithm == "ours":
        return Ours(network, recipe, arithmetic, compiled, arguments.fold), network
    return Reference(network, recipe, arithmetic, compiled), network


def rehearse(arguments, recipe, arithmetic):
    """A step of a small network: PyTorch loads much of its code at first use, which is not the step's memory."""
    # Of no fewer channels: with 4, in channels-last and on CPUs without AVX-512, PyTorch's convolutions do not end or crash (2.11, 2.15).
    small = dataclasses.replace(recipe, width=16, hidden=512, batch_size=2, groups=1)
    step, _ = build(arguments, small, arithmetic, compiles=False)
    x1, x2 = (arithmetic.placed(torch.rand(2, 3, 32, 32)) for _ in range(2))
    step(x1, x2, step.draw_start(x1))


def measure(arguments):
    captured = arguments.mode.endswith("graph")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("PyTorch finds no CUDA device; give --device cpu")
    if captured and arguments.device != "cuda":
        raise ValueError("CUDA graphs need --device cuda")
    torch.set_num_threads(arguments.threads)
    arithmetic = Arithmetic(arguments.precision, arguments.device, arguments.channels_last, captured)
    inputs = Inputs(arguments.inputs) if arguments.inputs else None
    values = (arguments.arch, arguments.width, arguments.batch_size, arguments.attack_steps)
    recipe = inputs.recipe if inputs else preset(arguments.recipe, *values)
    rehearse(arguments, recipe, arithmetic)
    memory = Memory(arithmetic.device)
    step, network = build(arguments, recipe, arithmetic, arguments.mode.startswith("compile"))
    if inputs:
        inputs.load_into(network)
        x1, x2 = inputs.x1, inputs.x2
    else:
        x1, x2 = (torch.rand(recipe.batch_size, 3, 32, 32) for _ in range(2))
    x1, x2 = arithmetic.placed(x1), arithmetic.placed(x2)
    start = step.draw_start(x1)
    if captured:
        step = Captured(step, x1, x2, start)
    main, regularizer, attack = getattr(step, "first", step)(x1, x2, start).tolist()
    timed(step, x1, x2, arguments.warmup, arithmetic.device)
    if not captured:
        memory.reset()
    samples = timed(step, x1, x2, arguments.steps, arithmetic.device)
    # Before anything else is asked of PyTorch, which would load more of it.
    peak_memory = memory.peak()
    return {
        "schema": 1,
        "kind": "peer",
        "algorithm": "released" if arguments.authors else arguments.algorithm,
        **{key: getattr(arguments, key) for key in ("mode", "precision", "fold", "channels_last", "threads", "warmup")},
        "recipe": dataclasses.asdict(recipe),
        "device": torch.cuda.get_device_name() if arithmetic.device.type == "cuda" else "cpu",
        "versions": {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "python": sys.version.split()[0],
        },
        "step": {"median": statistics.median(samples), "min": min(samples), "max": max(samples), "samples": samples},
        "peak_memory": peak_memory,
        "losses": {"main": main, "regularizer": regularizer, "attack": attack},
        "engine_losses": inputs.losses if inputs else None,
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--algorithm", choices=["reference", "ours"], default="reference", help="(default: reference)")
    parser.add_argument(
        "--authors", type=Path, metavar="PATH", help="time the authors' released code itself, in this checkout of it"
    )
    parser.add_argument(
        "--mode", choices=MODES, default="eager", help="torch.compile, a CUDA graph of the whole step, or both (default: eager)"
    )
    parser.add_argument("--precision", choices=list(PRECISIONS), default="fp32", help="16-bit ones by autocast (default: fp32)")
    parser.add_argument("--channels-last", action="store_true", help="images and filters as NHWC")
    parser.add_argument(
        "--fold", action="store_true", help="fold batch normalisation into the convolutions for the attack; with ours"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(default: cpu)")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), metavar="N", help="CPU threads (default: all cores)"
    )
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="timed steps (default: 5)")
    parser.add_argument("--warmup", type=int, default=1, metavar="N", help="steps after the first and before those (default: 1)")
    parser.add_argument("--inputs", type=Path, metavar="FILE", help="weights, views and recipe of rocl bench step --dump")
    parser.add_argument(
        "--recipe", choices=["reference", "paper"], default="reference", help="without --inputs (default: reference)"
    )
    parser.add_argument("--arch", choices=list(RESNETS), help="in place of the recipe's")
    for name, what in [("--width", "channels of the stem"), ("--batch-size", "images"), ("--attack-steps", "steps of PGD")]:
        parser.add_argument(name, type=int, metavar="N", help=f"{what}, in place of the recipe's")
    arguments = parser.parse_args()
    replaced = [arguments.arch, arguments.width, arguments.batch_size, arguments.attack_steps]
    if arguments.inputs and any(value is not None for value in replaced):
        parser.error("--inputs has its own recipe; leave out --arch, --width, --batch-size and --attack-steps")
    if arguments.authors and (arguments.mode != "eager" or arguments.fold):
        parser.error("the released code runs as it is; leave out --mode and --fold")
    if arguments.fold and arguments.algorithm != "ours":
        parser.error("--fold belongs to --algorithm ours")
    if arguments.steps < 1 or arguments.threads < 1 or arguments.warmup < 0:
        parser.error("--steps and --threads have to be at least 1, --warmup at least 0")
    return arguments


def main():
    arguments = parse()
    try:
        # What others print, the released code among them, is not to come between.
        with contextlib.redirect_stdout(sys.stderr):
            result = measure(arguments)
    except (ValueError, OSError, KeyError, RuntimeError, SafetensorError) as error:
        # Some messages are pages long; the driver shows one line.
        sys.exit(f"error: {' '.join(str(error).split())[:300]}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
