"""What a step is made of: the settings of a recipe that it depends on."""

import tomllib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"


@dataclass(frozen=True)
class Recipe:
    """The network, the attack (equation 3 of the paper), the losses (equations 2 and 5) and LARS, in the first epoch."""

    architecture: str
    width: int
    hidden: int
    projection: int
    batch_size: int
    epsilon: float
    step_size: float
    attack_steps: int
    random_start: bool
    # Which view is attacked towards, and which the regulariser draws the adversary to: "original" or "other".
    attack_to: str
    regularize_to: str
    # Independent groups of images, for the attack and the regulariser.
    groups: int
    temperature: float
    lamda: float
    detach_keys: bool
    learning_rate: float
    momentum: float
    weight_decay: float
    trust: float

    @classmethod
    def from_table(cls, table):
        """From a recipe as in recipes/*.toml, complete. ValueError for one that has no peer."""
        network, attack, loss, optimizer, schedule = (
            table[key] for key in ("network", "attack", "loss", "optimizer", "schedule")
        )
        wanted = [
            (table["train"]["method"], "rocl", "train.method"),
            (attack["loss"], "similarity", "attack.loss"),
            (optimizer["kind"], "lars", "optimizer.kind"),
            (network.get("normalization"), None, "network.normalization"),
            (network.get("projector", True), True, "network.projector"),
        ]
        for value, only, key in wanted:
            if value != only:
                raise ValueError(f"{key} is {value!r}, but the peers have {only!r} only; choose another recipe")
        batch, group = table["train"]["batch_size"], attack["group"]
        rate = optimizer["learning_rate"]
        if schedule["kind"] == "warmup_cosine" and schedule["warmup_epochs"] > 0:
            rate *= 1 + (schedule["warmup_multiplier"] - 1) / schedule["warmup_epochs"]
        elif schedule["kind"] == "warmup_cosine":
            rate *= schedule["warmup_multiplier"]
        return cls(
            architecture=network["architecture"],
            width=network["width"],
            hidden=network.get("projection_hidden") or 32 * network["width"],
            projection=network["projection"],
            batch_size=batch,
            epsilon=float(Fraction(str(attack["epsilon"]))),
            step_size=float(Fraction(str(attack["step_size"]))),
            attack_steps=attack["steps"],
            random_start=attack["random_start"],
            attack_to=attack["attack_to"],
            regularize_to=loss["regularize_to"],
            # As in the engine: a batch smaller than a group is one group.
            groups=batch // group if 0 < group <= batch else 1,
            temperature=loss["temperature"],
            lamda=loss["lambda"],
            detach_keys=loss["detach_keys"],
            learning_rate=rate,
            momentum=optimizer["momentum"],
            weight_decay=optimizer["weight_decay"],
            trust=optimizer["trust"],
        )


def preset(name, architecture=None, width=None, batch_size=None, attack_steps=None):
    """A recipe of recipes/, by its name without version, with values put in place of its own."""
    table = tomllib.loads((RECIPES / f"{name}@1.toml").read_text())
    replaced = [("network", "architecture", architecture), ("network", "width", width), ("train", "batch_size", batch_size)]
    for section, key, value in [*replaced, ("attack", "steps", attack_steps)]:
        if value is not None:
            table[section][key] = value
    return Recipe.from_table(table)
