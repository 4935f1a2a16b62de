#!/usr/bin/env python3
"""How far plain 16-bit PyTorch is from a recording, quantity by quantity: what `rocl verify --precision fp16|bf16` is measured by.

    python tools/plain_precision.py tests/golden/resnet18_w8_b4.safetensors

replays the recording with `torch.autocast` on the CPU (weights, activations and their gradients in 16 bits, sums in f32; losses, statistics, optimiser and images in f32), all
gradients under one loss scale, and prints for fp16 and bf16 the error of each row that `rocl verify` prints, as JSON. Losses and LARS are those of record.py, written
once more since that needs the authors' code.

How weights happen to round decides about the error of a forward pass: over networks that are equal but for a factor in each filter, which
batch normalisation takes out again, it differs by up to seven times. So errors of outputs, and of the losses that adversaries gain, are root
mean squares over DRAWS such networks. Gradients, adversaries and training steps are of the recorded one.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch
from pytorch_model import network_for
from safetensors import SafetensorError, safe_open
from torch.nn.functional import cross_entropy

DRAWS = 33
DTYPES = {"fp16": (torch.float16, 65536.0), "bf16": (torch.bfloat16, 1.0)}


class Recording:
    """A recording and its companion in f64, if there is one."""

    def __init__(self, path):
        self.tensors, self.settings = read(path)
        companion = path.with_name(f"{path.stem}_f64.safetensors")
        self.exact = read(companion)[0] if companion.exists() else {}

    def __contains__(self, name):
        return name in self.tensors

    def __getitem__(self, name):
        return self.tensors[name]

    def setting(self, name):
        return float(self.settings[name])

    def change_error(self, before, after, found):
        """Of a difference of two recorded tensors; the companion may lack the first."""
        truths = [self.tensors[after].double() - self.tensors[before].double()]
        if after in self.exact:
            truths.append(self.exact[after].double() - self.exact.get(before, self.tensors[before]).double())
        return min(distance(found, truth) for truth in truths)

    def error(self, name, found, step=None):
        """Relative L2 against the nearer of the two recordings."""
        truths = [tensors[name] for tensors in (self.tensors, self.exact) if name in tensors]
        if step is not None:
            truths = [truth[step] for truth in truths if step < len(truth)]
        return min(distance(found, truth) for truth in truths)


def read(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}


def distance(found, truth):
    found, truth = found.detach().double(), truth.double()
    difference = (found - truth).norm()
    return (difference / truth.norm()).item() if difference else 0.0


def rounded(error):
    return float(f"{error:.3g}")


def changed(x, truth, size):
    """Of each image, the fraction of its pixels that differ by more than half a step."""
    return ((x - truth).abs() > 0.5 * size).double().mean(dim=(1, 2, 3))


def nt_xent(z, views, temperature):
    """NT-Xent with keys detached; docs and tests/golden/README.md have the formula."""
    unit = z / (z.norm(dim=1, keepdim=True) + 1e-8)
    p = (unit @ unit.detach().T / temperature).exp() * (1 - torch.eye(len(z)))
    p = p / (p.sum(dim=1, keepdim=True) + 1e-8)
    rows, batch = torch.arange(len(z)), len(z) // views
    return sum(-(p[rows, (rows + other * batch) % len(z)] + 1e-8).log().mean() for other in range(1, views))


class Plain:
    """The recorded network under autocast."""

    def __init__(self, recording, dtype, scale, draw=0):
        self.recording, self.dtype, self.scale = recording, dtype, scale
        self.rows = []
        state = {name[5:].replace("/", ".", 1): tensor for name, tensor in recording.tensors.items() if name.startswith("init/")}
        self.network = network_for(state)
        for name in self.network.state_dict():
            if name.endswith("num_batches_tracked"):
                state.setdefault(name, torch.zeros((), dtype=torch.int64))
        self.network.load_state_dict(state)
        self.network.eval()
        if draw > 0:
            torch.manual_seed(draw)
            self.rescale()

    @torch.no_grad()
    def rescale(self):
        """An equal network in other numbers: each filter times a random factor, and the statistics behind it to match."""
        modules = list(self.network.model.modules())
        convs = [module for module in modules if isinstance(module, torch.nn.Conv2d)]
        norms = [module for module in modules if isinstance(module, torch.nn.BatchNorm2d)]
        # Each is registered right before the other, or in the same order.
        for conv, norm in zip(convs, norms, strict=True):
            factor = 0.5 + torch.rand(conv.out_channels)
            conv.weight *= factor.view(-1, 1, 1, 1)
            norm.running_mean *= factor
            norm.running_var.copy_((norm.running_var + norm.eps) * factor**2 - norm.eps)

    def row(self, name, measure, error):
        self.rows.append({"name": name, "measure": measure, "plain": rounded(error)})

    def compare(self, name, found):
        if name in self.recording:
            self.row(name, "relative_l2", self.recording.error(name, found))

    def spread(self, name, errors):
        if errors:
            self.row(name, "median", sorted(errors)[len(errors) // 2])
            self.row(name, "worst", max(errors))

    def autocast(self):
        return torch.autocast("cpu", dtype=self.dtype)

    def embed(self, images):
        with self.autocast():
            return self.network.projector(self.network.model(images)).float()

    def classify(self, images):
        with self.autocast():
            return self.network.linear(self.network.model(images)).float()

    def scaled_gradient(self, loss, inputs):
        """Of the scaled loss, unscaled; the scale halves until nothing overflows."""
        while True:
            gradients = torch.autograd.grad(loss * self.scale, inputs, retain_graph=True)
            if all(g.isfinite().all() for g in gradients) or self.scale <= 1:
                return [g / self.scale for g in gradients]
            self.scale /= 2

    def outputs(self):
        """Rows of what the network makes of recorded images."""
        model, recording = self.network.model, self.recording
        for view in ("x1", "x2"):
            layers = []
            hooks = [part.register_forward_hook(lambda *call: layers.append(call[2])) for part in (model.layer1, model.layer2, model.layer3, model.layer4)]
            hooks.append(model.layer1.register_forward_pre_hook(lambda _, given: layers.append(given[0])))
            with torch.no_grad(), self.autocast():
                features = model(self.recording[f"in/{view}"])
                outputs = {"feat": features, "proj": self.network.projector(features), "logits": self.network.linear(features)}
            for hook in hooks:
                hook.remove()
            for name, found in [(f"internal{i}", layer) for i, layer in enumerate(layers)] + list(outputs.items()):
                self.compare(f"eval/{view}/{name}", found)
        with torch.no_grad():
            if "pgd20/x_final" in recording:
                self.compare("pgd20/logits_adv", self.classify(recording["pgd20/x_final"]))
            for prefix in ("attack", "pgd20", "pgd20rs"):
                self.losses(prefix)

    def objective(self, prefix):
        """What the attack of that name increases, as a function of images."""
        recording = self.recording
        if prefix != "attack":
            return lambda x: cross_entropy(self.classify(x), recording["in/y"])
        with torch.no_grad():
            target = self.embed(recording["in/x2"])
        return lambda x: nt_xent(torch.cat((self.embed(x), target)), 2, recording.setting("temperature"))

    def losses(self, prefix):
        """At all recorded images; where only the first is recorded, there."""
        recording, name = self.recording, f"{prefix}/loss"
        if name not in recording:
            return
        if f"{prefix}/x_traj" in recording:
            images = recording[f"{prefix}/x_traj"][:-1]
        else:
            images = recording["pgd20rs/x0" if prefix == "pgd20rs" else "in/x1"][None]
        objective = self.objective(prefix)
        self.row(name, "worst", max(recording.error(name, objective(x), index) for index, x in enumerate(images)))

    def attacks(self):
        """Rows of the attacks' gradients and pixels. Gives the adversaries by name: the one found and the recorded one."""
        recording = self.recording
        epsilon, alpha, x1 = recording.setting("eps"), recording.setting("alpha"), recording["in/x1"]
        contrastive, classification, found = self.objective("attack"), self.objective("pgd20"), {}

        def gradient(objective, x):
            x = x.clone().requires_grad_()
            return self.scaled_gradient(objective(x), [x])[0]

        def step(objective, x, size):
            moved = (x + size * gradient(objective, x).sign()).clamp(0, 1)
            return moved.clamp(x1 - epsilon, x1 + epsilon)

        def adversary(name, x, truth, size):
            found[name] = (x, truth)
            fractions = changed(x, truth, size).tolist()
            self.row(name, "median_image", statistics.median_low(fractions))
            self.row(name, "worst_image", max(fractions))

        def single_steps(name, objective, size):
            images, worst = recording[name], 0.0
            for x, following in zip(images, images[1:]):
                worst = max(worst, changed(step(objective, x, size), following, size).mean().item())
            self.row(name, "worst_step", worst)

        def run(objective, x, size, steps):
            for _ in range(steps):
                x = step(objective, x, size)
            return x

        trajectory = recording["attack/x_traj"]
        if "attack/grad" in recording:
            gradients = [gradient(contrastive, x) for x in trajectory[:-1]]
            self.spread("attack/grad", [recording.error("attack/grad", g, index) for index, g in enumerate(gradients)])
        single_steps("attack/x_traj", contrastive, alpha)
        adversary("attack/x_traj", run(contrastive, x1, alpha, len(trajectory) - 1), trajectory[-1], alpha)

        size, steps = epsilon / 10, 20
        if "pgd20/grad0" in recording:
            gradients = gradient(classification, x1)
            self.spread("pgd20/grad0", [recording.error("pgd20/grad0", g, index) for index, g in enumerate(gradients)])
        if "pgd20/x_traj" in recording:
            single_steps("pgd20/x_traj", classification, size)
        if "pgd20/x_final" in recording:
            adversary("pgd20/x_final", run(classification, x1, size, steps), recording["pgd20/x_final"], size)
        if "pgd20rs/x_final" in recording:
            x = run(classification, recording["pgd20rs/x0"], size, steps)
            adversary("pgd20rs/x_final", x, recording["pgd20rs/x_final"], size)
        return found

    @torch.no_grad()
    def gains(self, found):
        """Rows of the loss that adversaries gain, in the worst of those images that are not the recorded ones."""
        for name, (x, truth) in found.items():
            objective = self.objective(name.split("/")[0])

            def loss_with(images, index):
                mixed = truth.clone()
                mixed[index] = images[index]
                return objective(mixed).item()

            recorded, errors = objective(truth).item(), [0.0]
            for index in (x != truth).flatten(1).any(dim=1).nonzero().flatten().tolist():
                gain = recorded - loss_with(self.recording["in/x1"], index)
                errors.append(abs(loss_with(x, index) - recorded) / gain)
            self.row(name, "gain", max(errors))

    def named_parameters(self):
        return [(name.replace(".", "/", 1), p) for name, p in self.network.named_parameters() if not name.startswith("linear.")]

    def running(self):
        return {name.replace(".", "/", 1): b for name, b in self.network.named_buffers() if "running" in name}

    def steps(self):
        recording, momentum = self.recording, {}
        self.network.model.train()
        adversary = recording["attack/x_traj"][-1]
        self.training_step("step1", recording["in/x1"], recording["in/x2"], adversary, momentum)
        if "step2/adv_given" in recording:
            self.training_step("step2", recording["in/x2"], recording["in/x1"], recording["step2/adv_given"], momentum)

    def training_step(self, prefix, x1, x2, adversary, momentum):
        recording, named = self.recording, self.named_parameters()
        temperature = recording.setting("temperature")

        before = {name: p.detach().clone() for name, p in named}

        def statistics_row(path, what):
            named_buffers = [(path + name.removeprefix("model/"), found) for name, found in self.running().items()]
            errors = [recording.error(name, found) for name, found in named_buffers if name in recording]
            if errors:
                self.row(f"{prefix}/{what}", "worst", max(errors))

        def errors(what, found):
            names = [name for name, _ in named if f"{prefix}/{what}/{name}" in recording]
            self.spread(f"{prefix}/{what}", [recording.error(f"{prefix}/{what}/{name}", found[name]) for name in names])

        adv_loss = nt_xent(self.embed(torch.cat((x2, adversary))), 2, temperature) / recording.setting("lamda")
        statistics_row(f"{prefix}/bn_after_adv/", "bn_after_adv")
        simloss = nt_xent(self.embed(torch.cat((x1, x2, adversary))), 3, temperature)
        statistics_row(f"{prefix}/after/model/", "bn_after")
        found = dict(zip((name for name, _ in named), self.scaled_gradient(simloss + adv_loss, [p for _, p in named])))
        errors("grad", found)

        decay, trust = recording.setting("weight_decay"), recording.setting("lars_trust")
        scales = {}
        with torch.no_grad():
            for name, p in named:
                gradient = found[name]
                p_norm, g_norm = p.norm(), gradient.norm()
                trusted = trust * p_norm / (g_norm + decay * p_norm + 1e-8)
                scales[name] = torch.where((p_norm > 0) & (g_norm > 0), trusted, torch.ones_like(p_norm))
                update = scales[name] * (gradient + decay * p)
                momentum[name] = update + recording.setting("momentum") * momentum[name] if name in momentum else update
                p -= recording.setting("lr") * momentum[name]
        errors("momentum", momentum)
        earlier = "init" if prefix == "step1" else "step1/after"
        changes = []
        for name, p in named:
            keys = [f"{earlier}/{name}", f"{prefix}/after/{name}"]
            if all(key in recording for key in keys):
                changes.append(recording.change_error(*keys, p.detach() - before[name]))
        self.spread(f"{prefix}/update", changes)
        errors("adaptive_lr", scales)
        for what, loss in [("adv_loss", adv_loss), ("simloss", simloss), ("loss", simloss + adv_loss)]:
            self.compare(f"{prefix}/{what}", loss)


def typical(draws, part):
    """The root mean square of each row's error over equal networks."""
    for draw in draws:
        draw.rows = []
        part(draw)
    rows = zip(*(draw.rows for draw in draws))
    return [same[0] | {"plain": rounded(statistics.fmean(row["plain"] ** 2 for row in same) ** 0.5)} for same in rows]


def measured(path):
    """Everything in JSON, as text."""
    recording = Recording(path)
    parts = [f'"recording": {json.dumps(path.stem)}', f'"torch": {json.dumps(torch.__version__)}']
    for name, (dtype, scale) in DTYPES.items():
        draws = [Plain(recording, dtype, scale, draw) for draw in range(DRAWS)]
        recorded = Plain(recording, dtype, scale)
        found = recorded.attacks()
        recorded.steps()
        rows = typical(draws, Plain.outputs) + typical(draws, lambda draw: draw.gains(found)) + recorded.rows
        # A row a line, so that two versions can be compared.
        rows = ",\n  ".join(map(json.dumps, rows))
        parts.append(f'"{name}": [\n  {rows}\n ]')
    return "{\n " + ",\n ".join(parts) + "\n}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recording", type=Path, metavar="FILE", help="NAME.safetensors; NAME_f64.safetensors beside it is used too")
    path = parser.parse_args().recording
    try:
        print(measured(path))
    except (OSError, SafetensorError) as error:
        sys.exit(f"error: {path} or its companion cannot be read ({error}); give the path of a recording")
    except (KeyError, ValueError, RuntimeError) as error:
        reason = f"no {error.args[0]}" if isinstance(error, KeyError) else " ".join(str(error).split())
        sys.exit(f"error: {path} is not a whole recording ({reason}); record it again")


if __name__ == "__main__":
    main()
