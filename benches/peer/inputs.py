"""The step that the engine wrote for a peer to repeat."""

import json
import re

from recipe import Recipe
from safetensors import safe_open


class Inputs:
    """Weights, views, recipe and the engine's losses from `rocl bench step --dump`.

    Tensors are named and laid out as in a checkpoint: `model/…`, `projector/…`, and besides `x1`, `x2`, `[batch, 32, 32, 3]`,
    and `losses` (main, regulariser, the attack's last; `[3]`, or as JSON in the metadata). A group's name in front is left aside:
    `parameters/`, `statistics/`, `step/`. Metadata: `recipe`, as JSON.
    """

    def __init__(self, path):
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {re.sub("^(parameters|statistics|step)/", "", name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if "recipe" not in meta or not {"x1", "x2"} <= tensors.keys() or not ("losses" in tensors or "losses" in meta):
            raise ValueError(f"{path} is no step to repeat; give a file of rocl bench step --dump")
        self.recipe = Recipe.from_table(json.loads(meta["recipe"]))
        self.x1, self.x2 = (tensors.pop(name).permute(0, 3, 1, 2).contiguous() for name in ("x1", "x2"))
        names = ("main", "regularizer", "attack")
        if "losses" in tensors:
            self.losses = dict(zip(names, tensors.pop("losses").tolist()))
        else:
            self.losses = {name: float(json.loads(meta["losses"])[name]) for name in names}
        self.state = {name.replace("/", ".", 1): tensor for name, tensor in tensors.items()}

    def load_into(self, network):
        """Every parameter and statistic has to be there, and none besides; PyTorch's counters of batches may be missing."""
        counters = {name: tensor for name, tensor in network.state_dict().items() if name.endswith("num_batches_tracked")}
        network.load_state_dict(counters | self.state, strict=True)
