#!/usr/bin/env python3
"""Times the engine against PyTorch: the same step from the same weights and views, engine and peers by turns.

    python benches/peer/compare.py --engine target/release/rocl --width 16 --batch-size 32 --threads 2 --out results.json

A contender that cannot run is listed as failed. Exit code 1: losses disagree; 2: the engine itself failed, or wrong usage.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from report import Contender, disagreements, portable, ratios, table

HERE = Path(__file__).parent
RECIPES = HERE.parents[1] / "recipes"
MODES = ["compile", "graph", "compile-graph"]
FLAGS = ["fold", "channels-last"]
# On any device, and on CUDA besides.
PEERS = ["reference", "reference+channels-last", "ours+channels-last", "ours+fold+channels-last"]
PEERS += ["reference+channels-last+compile", "ours+fold+channels-last+compile"]
CUDA_PEERS = ["reference+channels-last+graph", "ours+fold+channels-last+graph"]
CUDA_PEERS += ["reference+channels-last+compile-graph", "ours+fold+channels-last+compile-graph"]


class Failure(Exception):
    """Why a contender did not run."""


def peer_flags(spec, authors=None):
    """`ours+fold+channels-last+compile` as flags of step.py; ValueError for what is no such list."""
    algorithm, *rest = spec.split("+")
    if algorithm not in ("reference", "ours", "released"):
        raise ValueError(f"{spec} does not begin with reference, ours or released")
    if algorithm == "released":
        if authors is None:
            raise ValueError("released needs --authors, a checkout of the authors' repository")
        flags = ["--authors", str(authors)]
    else:
        flags = ["--algorithm", algorithm]
    for word in rest:
        if word in MODES:
            flags += ["--mode", word]
        elif word in FLAGS:
            flags.append(f"--{word}")
        else:
            raise ValueError(f"{spec}: {word} is none of {', '.join(MODES + FLAGS)}")
    return flags


def run(command, arguments):
    """The JSON object that a contender prints."""
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.timeout, env=environment)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"took more than {arguments.timeout} s") from error
    except OSError as error:
        raise Failure(f"cannot be started ({error.strerror})") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}, nothing said"]
        # Our own programs say a sentence; a traceback says most in its last line.
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        raise Failure(said[-1] if said else lines[-1])
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise Failure(f"printed no JSON ({error})") from error


def engine_command(arguments, recipe, repeat, warmup):
    values = {
        "recipe": recipe,
        "width": arguments.width,
        "batch-size": arguments.batch_size,
        "attack-steps": arguments.attack_steps,
        "threads": arguments.threads,
        "precision": arguments.precision,
        "device": arguments.device,
        "repeat": repeat,
        "warmup": warmup,
    }
    flags = [text for key, value in values.items() for text in (f"--{key}", str(value))]
    return [str(arguments.engine), "bench", "step", *flags, "--json"]


def peer_command(arguments, spec, inputs):
    shared = ["--inputs", str(inputs), "--device", arguments.device, "--precision", arguments.precision]
    counts = ["--threads", str(arguments.threads), "--steps", str(arguments.steps), "--warmup", str(arguments.warmup)]
    return [arguments.python, str(HERE / "step.py"), *peer_flags(spec, arguments.authors), *shared, *counts]


def alternate(arguments, recipe, inputs, keep):
    """All contenders, the engine first, after all rounds of A B C A B C …; `keep` is given them after each round."""
    contenders = [Contender("engine", engine_command(arguments, recipe, arguments.steps, arguments.warmup))]
    contenders += [Contender(spec, peer_command(arguments, spec, inputs)) for spec in arguments.peer]
    for number in range(arguments.rounds):
        for contender in contenders:
            if contender.failed:
                continue
            print(f"round {number + 1}/{arguments.rounds}: {contender.name}", file=sys.stderr)
            try:
                contender.add(run(contender.command, arguments))
            except (Failure, ValueError) as failure:
                if contender is contenders[0]:
                    raise Failure(failure) from failure
                contender.failed = str(failure)
                print(f"  failed: {failure}", file=sys.stderr)
        keep(contenders, number + 1)
    return contenders


def machine(contenders):
    """What the figures hold for."""
    names = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    devices = {done["device"] for contender in contenders for done in contender.runs if isinstance(done.get("device"), str)}
    versions = next(
        (
            done["versions"]
            for contender in contenders
            for done in contender.runs
            if "versions" in done and contender.name != "engine"
        ),
        {},
    )
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": next(iter(sorted(devices - {"cpu"})), None),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def commit():
    """The commit of this checkout, with a mark if there are changes; none outside a repository."""
    described = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude", "*"], capture_output=True, text=True
    )
    return described.stdout.strip() or None


def without_random_start(name):
    """The text of a preset or a TOML file with attacks that begin at the image: random starts could not be repeated elsewhere."""
    preset = RECIPES / f"{name}@1.toml"
    text = (preset if preset.is_file() else Path(name)).read_text()
    if tomllib.loads(text).get("attack", {}).get("random_start") is None:
        raise ValueError(f"{name} has no attack.random_start; write it into the file")
    return re.sub(r"^(\s*random_start\s*=\s*)true", r"\1false", text, flags=re.MULTILINE)


def compare(arguments):
    """The comparison as a JSON object, its contenders, and where losses disagree. It is written to `--out` after every round."""
    began, load = datetime.now(UTC), os.getloadavg()
    keys = ("recipe", "width", "batch_size", "attack_steps", "threads", "precision", "device", "steps", "warmup")
    result = {
        "schema": 1,
        "kind": "peer-comparison",
        "date": began.isoformat(timespec="seconds"),
        "command": portable(["python", *sys.argv]),
        "commit": commit(),
        "settings": {key: getattr(arguments, key) for key in keys},
    }

    def keep(contenders, rounds):
        result["settings"]["rounds"] = rounds
        result["machine"] = machine(contenders) | {"load_before": load, "load_after": os.getloadavg()}
        result["disagreements"] = disagreements(contenders[1:], arguments.precision)
        result["contenders"] = [contender.record() for contender in contenders]
        result["ratios"] = ratios(contenders)
        if arguments.out:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(result, indent=1) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        recipe, inputs = Path(folder) / "recipe.toml", Path(folder) / "step.safetensors"
        recipe.write_text(without_random_start(arguments.recipe))
        run([*engine_command(arguments, recipe, 1, 1), "--dump", str(inputs)], arguments)
        contenders = alternate(arguments, recipe, inputs, keep)
    return result, contenders, result["disagreements"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--engine", type=Path, required=True, metavar="PATH", help="the program rocl")
    parser.add_argument("--python", default=sys.executable, help="a Python with PyTorch, for the peers (default: this one)")
    parser.add_argument("--authors", type=Path, metavar="PATH", help="a checkout of the authors' code: times that, too")
    parser.add_argument(
        "--peer",
        action="append",
        metavar="SPEC",
        help="such as ours+fold+channels-last+compile; again for more (default: several)",
    )
    parser.add_argument("--recipe", default="reference", help="a preset, or a TOML file (default: reference)")
    sizes = [("--width", 64, "channels of the stem"), ("--batch-size", 32, "images"), ("--attack-steps", 7, "steps of PGD")]
    counts = [
        ("--rounds", 5, "times that each contender runs"),
        ("--steps", 5, "timed steps of a run"),
        ("--warmup", 2, "steps before them"),
    ]
    limits = [
        ("--threads", len(os.sched_getaffinity(0)), "CPU threads of each"),
        ("--timeout", 3600, "seconds that a run may take"),
    ]
    for name, default, what in sizes + counts + limits:
        parser.add_argument(name, type=int, default=default, metavar="N", help=f"{what} (default: {default})")
    parser.add_argument(
        "--precision", choices=["fp32", "tf32", "fp16", "bf16"], default="fp32", help="of all contenders (default: fp32)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(default: cpu)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the comparison as JSON")
    arguments = parser.parse_args()
    least = {"rounds": 1, "steps": 1, "warmup": 0, "threads": 1, "timeout": 1}
    for name, value in least.items():
        if getattr(arguments, name) < value:
            parser.error(f"--{name} has to be at least {value}")
    if not arguments.peer:
        arguments.peer = PEERS + (CUDA_PEERS if arguments.device == "cuda" else []) + (["released"] if arguments.authors else [])
    try:
        for spec in arguments.peer:
            peer_flags(spec, arguments.authors)
    except ValueError as error:
        parser.error(f"--peer: {error}")
    return arguments


def main():
    arguments = parse()
    try:
        result, contenders, differences = compare(arguments)
    except Failure as failure:
        print(f"error: the engine failed: {failure}", file=sys.stderr)
        sys.exit(2)
    except (OSError, ValueError) as error:
        print(f"error: --recipe: {error}", file=sys.stderr)
        sys.exit(2)
    print(table(result, contenders))
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
