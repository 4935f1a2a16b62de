#!/usr/bin/env python3
"""Converts PyTorch checkpoints of a ResNet-18, ResNet-50, PreActResNet-18 or WRN for small images to checkpoints of rocl.

    python tools/import_pytorch.py ckpt.t7 ckpt.t7_projector --map tools/maps/rocl.toml --out run/checkpoint.safetensors

Architecture, width and the projector's sizes are read from the tensors. A linear classifier among them is written as
`head.safetensors` beside the checkpoint. Where there is no projector (a supervised model), an untrained one is written.
"""

import argparse
import json
import pickle
import re
import sys
import tomllib
from pathlib import Path

import torch
from pytorch_model import Refusal, architecture_of, encoder, network_for, normalization_of, width_of
from safetensors import SafetensorError
from safetensors.torch import save_file

HEAD = "head.safetensors"
# The largest sizes of the engine.
LIMITS = {"width": 4096, "projection_hidden": 131072, "projection": 65536, "depth": 1000}
COUNTER = "num_batches_tracked"


def read_map(path):
    """The rules of a name map: (pattern, replacement), in order; no replacement where the tensor takes no part."""
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        rules = [(re.compile(rule["name"]), None) for rule in table.get("ignore", [])]
        rules += [(re.compile(rule["from"]), rule["to"]) for rule in table["rename"]]
        for pattern, to in rules:
            # Finds fault with the replacement whether or not there is something to replace.
            if to is not None:
                pattern.sub(to, "")
        return rules
    except OSError as error:
        raise Refusal(f"{path} cannot be read ({error.strerror}); give one of tools/maps") from error
    except (ValueError, KeyError, IndexError, TypeError, re.error) as error:
        raise Refusal(f"{path} is no name map ({error}); tools/maps/rocl.toml says what one looks like") from error


def state_dict(path, unsafe):
    """The tensors of a file by name (a bare state dict or module, or one under `net`, `model` or `state_dict`), and the normalization
    beside them, if pytorch_model.py wrote one."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=not unsafe)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise Refusal(f"{path} cannot be read ({error.strerror}); check the path") from error
    except pickle.UnpicklingError as error:
        raise Refusal(
            f"{path} is damaged, or holds Python objects besides tensors, which can run code when loaded; "
            "if you trust whoever made it, add --unsafe"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["it ends early"])[0]
        raise Refusal(f"{path} is no whole PyTorch checkpoint ({reason}); copy it again, or give another file of torch.save") from error
    stated = content.get("normalization") if isinstance(content, dict) else None
    if isinstance(content, dict):
        # Other things have these names too, such as an architecture's name under `model`.
        nested = (content.get(key) for key in ("net", "model", "state_dict"))
        content = next((value for value in nested if isinstance(value, dict | torch.nn.Module)), content)
    if isinstance(content, torch.nn.Module):
        content = content.state_dict()
    if not isinstance(content, dict) or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items()):
        raise Refusal(f"{path} has no state dict, bare or under net, model or state_dict; save model.state_dict() with torch.save")
    return content, None if stated is None else normalization_of(stated)


def renamed(states, rules):
    """All tensors under our names, in f32 (counters in i64)."""
    tensors, unknown, unusable = {}, [], []
    for name, tensor in (item for state in states for item in state.items()):
        bare = re.sub(r"^(module\.)+", "", name)
        match, to = next(((match, to) for pattern, to in rules if (match := pattern.fullmatch(bare))), (None, None))
        if match is None:
            unknown.append(name)
            continue
        if to is None:
            continue
        new = match.expand(to)
        if new in tensors:
            raise Refusal(f"{name} would be a second {new}; give each part of the network once")
        elif not usable(new, tensor):
            unusable.append(name)
        else:
            try:
                # A copy, since the format has no tensors that share memory.
                tensors[new] = tensor.to(torch.int64 if new.endswith(COUNTER) else torch.float32, copy=True).contiguous()
            except RuntimeError:
                unusable.append(name)
    if unknown:
        raise Refusal(f"the name map has no rule for {listed(unknown)}; choose another map, or add a rule to it")
    if unusable:
        raise Refusal(f"there are no dense floating-point numbers in {listed(unusable)}; save the model in f32 with its weights loaded")
    infinite = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if infinite:
        raise Refusal(f"there are values that are not finite in {listed(infinite)}; give a checkpoint from before the training diverged")
    return tensors


def usable(name, tensor):
    """Whether a tensor is there, dense, and floating point (which counters need not be)."""
    there = tensor.layout == torch.strided and tensor.device.type != "meta" and not tensor.is_quantized
    return there and (tensor.is_floating_point() or (name.endswith(COUNTER) and not tensor.is_complex()))


def network_of(tensors):
    """The network that the tensors make up. Adds to them what may be missing: counters, and a projector without training."""
    stem = tensors.get("model/conv1.weight")
    if stem is None:
        raise Refusal("there is no encoder (model/conv1.weight) among the tensors; give its file too, or choose another map")
    if stem.dim() != 4 or stem.shape[1:] != (3, 3, 3):
        raise Refusal(f"the stem's filters are {list(stem.shape)}, but the engine has CIFAR's, {[stem.shape[0], 3, 3, 3]}; it cannot run this network")
    architecture, width = architecture_of(state_of(tensors)), width_of(state_of(tensors))
    limit("width", width)
    if architecture.startswith("wrn"):
        limit("depth", int(architecture.removeprefix("wrn")))
    if not any(name.startswith("projector/") for name in tensors):
        print("note: there is no projector among the tensors; an untrained one is written", file=sys.stderr)
        with torch.device("meta"):
            features = encoder(architecture, width).features
        torch.manual_seed(0)
        tensors |= {
            f"projector/linear_{layer}.{name}": parameter.detach()
            for layer, linear in [(1, torch.nn.Linear(features, 32 * width)), (2, torch.nn.Linear(32 * width, 128))]
            for name, parameter in linear.named_parameters()
        }
    try:
        # Of its names and shapes alone.
        with torch.device("meta"):
            network = network_for(state_of(tensors))
    except KeyError as error:
        raise Refusal(f"there is no {error.args[0]} among the tensors; give the file that has it") from error
    for what, size in sizes(network).items():
        limit(what, size)
    expected = {re.sub(r"^(model|projector)\.", r"\1/", name): tensor for name, tensor in network.state_dict().items()}
    for name in expected:
        if name.endswith(COUNTER):
            tensors.setdefault(name, torch.zeros((), dtype=torch.int64))
    check(tensors, expected, network.model.architecture)
    return network


def state_of(tensors):
    """As PyTorch's state dict has their names."""
    return {name.replace("/", ".", 1): tensor for name, tensor in tensors.items()}


def limit(what, size):
    if not 1 <= size <= LIMITS[what]:
        raise Refusal(f"the network's {what} is {size}, but the engine takes 1 to {LIMITS[what]}; it cannot run this network")


def check(tensors, expected, of):
    """Refuses tensors that are missing, left over or of another shape."""
    missing = [name for name in expected if name not in tensors]
    left_over = [name for name in tensors if name not in expected]
    different = [
        f"{name} {list(tensors[name].shape)} for {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    faults = [("missing", missing), ("unexpected", left_over), ("of another shape", different)]
    faults = [f"{what}: {listed(names)}" for what, names in faults if names]
    if faults:
        raise Refusal(f"the tensors are not those of a {of} of one width ({'; '.join(faults)}); choose another map")


def listed(names, most=8):
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def sizes(network):
    """As a recipe has them."""
    projector = network.projector
    hidden, projection = projector.linear_1.out_features, projector.linear_2.out_features
    return {"width": network.model.width, "projection_hidden": hidden, "projection": projection}


def metadata(kind, network, normalization):
    """What the engine reads about a checkpoint. Keys that the recipe leaves out are those of `reference@1`."""
    recipe = {"schema": 1, "name": "imported", "network": {"architecture": network.model.architecture} | sizes(network)}
    meta = {"format": "rocl", "schema": "1", "kind": kind, "recipe": json.dumps(recipe), "epoch": "0", "step": "0", "seed": "0"}
    meta |= {"data": "unknown", "engine": "import_pytorch.py"}
    if normalization:
        meta["normalization"] = json.dumps(normalization)
    return meta


def normalization(arguments, stated):
    """That of the command line, or the one that files state; both have to be the same."""
    given = [{"mean": arguments.mean, "std": arguments.std}] if arguments.mean else []
    found = given + [one for one in stated if one]
    if any(one != found[0] for one in found):
        raise Refusal("there is more than one normalization in the files and the command line; leave --mean and --std out, or give files of one model")
    return found[0] if found else None


def convert(arguments):
    """Reads, renames, checks and writes."""
    if (arguments.mean is None) != (arguments.std is None):
        raise Refusal("--mean and --std belong together; give both or none")
    if arguments.mean:
        normalization_of({"mean": arguments.mean, "std": arguments.std})
    out = Path(arguments.out)
    if out.name == HEAD:
        raise Refusal(f"--out {out} is where a linear head of the file goes; name the checkpoint otherwise, such as checkpoint.safetensors")
    rules = read_map(arguments.map)
    states, stated = zip(*(state_dict(path, arguments.unsafe) for path in arguments.files))
    normalized = normalization(arguments, stated)
    tensors = renamed(states, rules)
    network = network_of(tensors)
    head = {name: tensors.pop(name) for name in list(tensors) if name.startswith("linear.")}
    files = [(out, "pretrain", tensors)] + ([(out.with_name(HEAD), "linear_head", head)] if head else [])
    for path, _, _ in files:
        if path.exists():
            raise Refusal(f"{path} is there already; choose another --out, or delete it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for path, kind, content in files:
            save_file(content, path, metadata(kind, network, normalized))
            print(f"wrote {path}")
    except (OSError, SafetensorError) as error:
        raise Refusal(f"{out.parent} cannot be written ({getattr(error, 'strerror', None) or error}); choose another --out") from error


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", metavar="FILE", help="of torch.save: the encoder; projector and linear head, if they lie apart")
    parser.add_argument("--map", required=True, metavar="TOML", help="how tensors are named, from tools/maps")
    parser.add_argument("--out", required=True, metavar="FILE", help="the checkpoint to write")
    parser.add_argument("--mean", type=float, nargs=3, metavar="M", help="what the model's images (in [0, 1]) had subtracted, per channel")
    parser.add_argument("--std", type=float, nargs=3, metavar="S", help="what they were divided by then")
    parser.add_argument("--unsafe", action="store_true", help="load files that hold Python objects; they can run any code")
    try:
        convert(parser.parse_args())
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")


if __name__ == "__main__":
    main()
