#!/usr/bin/env python3
"""Records what the authors' implementation of RoCL computes, for `rocl verify`: docs/verify.md has the format.

    git clone https://github.com/Kim-Minseon/RoCL
    python tools/record.py RoCL/src --width 8 --seed 3 --out mine.safetensors

drives the authors' encoder, projector, losses and attacks as they are, on the CPU. Written here are only: LARS, from the formula of
torchlars 0.1.2 (which needs CUDA to install); narrower layers, put into the authors' networks since those have fixed widths; and the images.
Writes `mine.safetensors` in f32, and `mine_f64.safetensors`: the same computed in f64 at the images and the adversary of the former.
"""

import argparse
import contextlib
import fnmatch
import statistics
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

EPSILON, ALPHA, TEMPERATURE, LAMDA = 0.0314, 0.007, 0.5, 256.0
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, TRUST, LARS_EPSILON = 0.24, 0.9, 1e-6, 0.001, 1e-8
# How far f32 may be from f64 in PyTorch itself: half of what `rocl verify` allows the engine, relative and in pixels of an adversary.
NOISE, UPDATE, PIXELS = 5e-6, 5e-4, 5e-4
PGD = "PGD-20's"
# Zeroed before recording, so that LARS meets a norm of zero.
ZEROED = ("model/layer2.0.bn1.bias", "projector/linear_2.bias")


class Authors:
    """The authors' classes and functions, from their `src` folder; `steps` are those of the instance-wise attack."""

    def __init__(self, source, steps):
        self.steps = steps
        if not (source / "attack_lib.py").is_file():
            sys.exit(f"error: {source} has no attack_lib.py; give the src folder of the authors' repository")
        sys.path.insert(0, str(source))
        # Imported by loss.py, used across several GPUs only.
        with contextlib.suppress(ImportError):
            import diffdist.functional  # noqa: F401
        if "diffdist.functional" not in sys.modules:
            package, functional = types.ModuleType("diffdist"), types.ModuleType("diffdist.functional")
            package.functional = functional
            sys.modules |= {"diffdist": package, "diffdist.functional": functional}
        # They send tensors to the GPU by name.
        torch.Tensor.cuda = lambda tensor, *_, **__: tensor
        try:
            import attack_lib
            import loss
            import model_loader
            from models.projector import Projector
        except ImportError as error:
            sys.exit(f"error: {source} cannot be imported ({error}); give the whole src folder, and install tools/requirements.txt")

        self.attacks, self.loss, self.model_loader, self.projector = attack_lib, loss, model_loader, Projector

    def networks(self, architecture, width):
        """Encoder and projector, their layers replaced by those of another width."""
        wanted = argparse.Namespace(dataset="cifar-10", train_type="contrastive", model=architecture)
        model = self.model_loader.get_model(wanted)
        expansion = 4 if architecture == "ResNet50" else 1
        projector = self.projector(expansion=expansion)
        if width != 64:
            block = type(model.layer1[0])
            model.conv1 = nn.Conv2d(3, width, kernel_size=3, padding=1, bias=False)
            model.bn1 = nn.BatchNorm2d(width)
            model.in_planes = width
            for stage in range(4):
                blocks = len(getattr(model, f"layer{stage + 1}"))
                setattr(model, f"layer{stage + 1}", model._make_layer(block, width << stage, blocks, stride=1 if stage == 0 else 2))
            projector.linear_1 = nn.Linear(8 * width * expansion, 32 * width)
            projector.linear_2 = nn.Linear(32 * width, 128)
        return model, projector

    def instance_attack(self, model, projector, steps=None):
        steps = self.steps if steps is None else steps
        return self.attacks.RepresentationAdv(
            model, projector, epsilon=EPSILON, alpha=ALPHA, min_val=0.0, max_val=1.0, max_iters=steps, loss_type="sim", regularize="other"
        )

    def similarity(self, outputs, views):
        return self.loss.pairwise_similarity(outputs, temperature=TEMPERATURE, multi_gpu=False, adv_type=kind(views))[0]

    def nt_xent(self, outputs, views):
        return self.loss.NT_xent(self.similarity(outputs, views), kind(views))


def kind(views):
    """The authors' name for the number of views."""
    return {2: "None", 3: "Rep"}[views]


class Lars(torch.optim.SGD):
    """SGD with each tensor's gradient scaled as torchlars 0.1.2 does; no tensor is left out."""

    def __init__(self, named):
        super().__init__([p for _, p in named], lr=LEARNING_RATE, momentum=MOMENTUM)
        self.named, self.scales = named, {}

    @torch.no_grad()
    def step(self):
        for name, p in self.named:
            p_norm, g_norm = p.norm(), p.grad.norm()
            trusted = TRUST * p_norm / (g_norm + WEIGHT_DECAY * p_norm + LARS_EPSILON)
            scale = torch.where((p_norm > 0) & (g_norm > 0), trusted, torch.ones_like(p_norm))
            self.scales[name] = scale
            p.grad = scale * (p.grad + WEIGHT_DECAY * p)
        super().step()

    def momentum(self):
        return {name: self.state[p]["momentum_buffer"] for name, p in self.named}


class Subject:
    """The networks and the optimiser of a run."""

    def __init__(self, authors, architecture, width, dtype=torch.float32):
        self.authors, self.dtype = authors, dtype
        model, projector = authors.networks(architecture, width)
        self.model, self.projector = model.to(dtype), projector.to(dtype)
        features = projector.linear_1.in_features
        self.linear = nn.Linear(features, 10).to(dtype)
        self.optimizer = Lars(self.parameters())

    def parameters(self):
        parts = [("model", self.model), ("projector", self.projector)]
        return [(f"{part}/{name}", p) for part, module in parts for name, p in module.named_parameters()]

    def state(self, linear=False):
        parts = [("model", self.model), ("projector", self.projector)] + ([("linear", self.linear)] if linear else [])
        return {f"{part}/{name}": tensor.clone() for part, module in parts for name, tensor in module.state_dict().items()}

    def load(self, state):
        for part in ("model", "projector", "linear"):
            module = getattr(self, part)
            module.load_state_dict({name: state[f"{part}/{name}"] for name in module.state_dict()})

    def eval(self):
        for module in (self.model, self.projector, self.linear):
            module.eval()

    def embed(self, images):
        return self.projector(self.model(images))

    def contrast(self, x1, x2, steps=None):
        """The attack and both losses of one step of rocl_train.py: adversary, regulariser, outputs, main loss."""
        attack = self.authors.instance_attack(self.model, self.projector, steps)
        adversary, adv_loss = attack.get_loss(original_images=x1, target=x2, optimizer=self.optimizer, weight=LAMDA, random_start=False)
        return adversary, adv_loss

    def main_loss(self, x1, x2, adversary):
        outputs = self.embed(torch.cat((x1, x2, adversary)))
        return outputs, self.authors.nt_xent(outputs, 3)

    def train_step(self, x1, x2):
        adversary, adv_loss = self.contrast(x1, x2)
        _, simloss = self.main_loss(x1, x2, adversary)
        self.optimizer.zero_grad()
        (simloss + adv_loss).backward()
        self.optimizer.step()
        return (simloss + adv_loss).item()


@contextlib.contextmanager
def gradients_logged():
    """Notes each (image, loss, gradient) that an attack asks autograd for."""
    original, log = torch.autograd.grad, []

    def logging(loss, x, *args, **kwargs):
        image = x.detach().clone()
        gradient = original(loss, x, *args, **kwargs)
        log.append((image, loss.detach().clone(), gradient[0].clone()))
        return gradient

    torch.autograd.grad = logging
    try:
        yield log
    finally:
        torch.autograd.grad = original


def synthetic_images(count):
    """Smooth random colours with a little noise, `[n, 3, 32, 32]`, in 256 levels."""
    coarse = nn.functional.interpolate(torch.rand(count, 3, 5, 5), size=32, mode="bicubic", align_corners=True)
    return ((1.3 * coarse - 0.15 + 0.05 * torch.randn(count, 3, 32, 32)).clamp(0, 1) * 255).round() / 255


def view(images):
    """Each image flipped or not, moved by up to 4 pixels, brighter or darker; in 256 levels."""
    out = []
    for image in images:
        image = image.flip(-1) if torch.rand(()) < 0.5 else image
        dy, dx = torch.randint(-4, 5, (2,)).tolist()
        out.append((image.roll((dy, dx), (1, 2)) * (0.7 + 0.6 * torch.rand(()))).clamp(0, 1))
    return (torch.stack(out) * 255).round() / 255


def prepare(subject, batch, warm_up):
    """Trains a little, since at initialisation all embeddings are parallel; then no scale or shift is at its initial value."""
    images = synthetic_images(256)
    # LARS, made for long runs, would hardly move in so few steps.
    subject.optimizer = torch.optim.Adam([p for _, p in subject.parameters()], lr=1e-3)
    for step in range(warm_up):
        chosen = images[torch.randint(len(images), (32,))]
        loss = subject.train_step(view(chosen), view(chosen))
        if step % 10 == 0 or step + 1 == warm_up:
            print(f"warm-up {step + 1}/{warm_up}: loss {loss:.4f}", file=sys.stderr)
    with torch.no_grad():
        for module in subject.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3)
                module.bias.uniform_(-0.2, 0.2)
        for name, parameter in subject.parameters():
            if name in ZEROED:
                parameter.zero_()
        # Running statistics of the network as it is now.
        subject.model.train()
        for part in view(images).split(64) * 20:
            subject.model(part)
    subject.optimizer = Lars(subject.parameters())
    originals = images[:batch]
    return originals, view(originals), view(originals)


def evaluation(subject, views, internal):
    """`eval/*`: outputs by running statistics."""
    subject.eval()
    out = {}
    with torch.no_grad():
        for name, x in views.items():
            feat, layers = subject.model(x, internal_outputs=True)
            out |= {f"eval/{name}/feat": feat, f"eval/{name}/proj": subject.projector(feat), f"eval/{name}/logits": subject.linear(feat)}
            if internal and name == "x1":
                out |= {f"eval/x1/internal{index}": layer for index, layer in enumerate(layers)}
    return out


def contrastive(subject, z):
    """`nt/*`: the loss on given embeddings, and its gradient."""
    out = {}
    for views, given in z.items():
        given = given.detach().clone().requires_grad_()
        loss = subject.authors.nt_xent(given, views)
        loss.backward()
        prefix = f"nt/{views}view"
        out |= {f"{prefix}/z": given.detach(), f"{prefix}/loss": loss.detach(), f"{prefix}/grad_z": given.grad}
        out[f"{prefix}/sim"] = subject.authors.similarity(given, views).detach()
    return out


def classifier_attack(subject, x, y, steps=20):
    """`pgd20/*`: PGD on the cross-entropy, without a random start and with one."""
    attack = subject.authors.attacks.FastGradientSignUntargeted(
        subject.model, subject.linear, epsilon=EPSILON, alpha=EPSILON / 10, min_val=0.0, max_val=1.0, max_iters=steps
    )
    with gradients_logged() as log:
        final = attack.perturb(x, y, random_start=False)
    images, losses, gradients = zip(*log)
    with torch.no_grad():
        out = {"pgd20/logits_adv": subject.linear(subject.model(final))}
    out |= {"pgd20/loss": torch.stack(losses), "pgd20/grad0": gradients[0], "pgd20/x_traj": torch.stack((*images, final)), "pgd20/x_final": final}

    state = torch.get_rng_state()
    noise = torch.FloatTensor(x.shape).uniform_(-EPSILON, EPSILON)
    torch.set_rng_state(state)
    with gradients_logged() as log:
        final = attack.perturb(x, y, random_start=True)
    out |= {"pgd20rs/noise": noise, "pgd20rs/x0": log[0][0], "pgd20rs/x_final": final}
    out["pgd20rs/loss"] = torch.stack([loss for _, loss, _ in log])
    return out


def training_step(subject, prefix, x1, x2, adversary=None, whole=True):
    """`stepN/*`, and the adversary. The attack runs unless its result is given: then it has no steps and begins there."""
    start, steps = (x1, None) if adversary is None else (adversary, 0)
    out = {}
    subject.optimizer.zero_grad()
    with gradients_logged() as log:
        adversary, adv_loss = subject.contrast(start, x2, steps)
    if log:
        images, losses, gradients = zip(*log)
        out |= {"attack/x_traj": torch.stack((*images, adversary)), "attack/loss": torch.stack(losses), "attack/grad": torch.stack(gradients)}
    for name, tensor in subject.model.state_dict().items():
        if "running" in name:
            out[f"{prefix}/bn_after_adv/{name}"] = tensor.clone()
    outputs, simloss = subject.main_loss(x1, x2, adversary)
    loss = simloss + adv_loss
    loss.backward()
    out |= {f"{prefix}/outputs": outputs, f"{prefix}/simloss": simloss, f"{prefix}/adv_loss": adv_loss, f"{prefix}/loss": loss}
    if whole:
        out |= {f"{prefix}/grad/{name}": p.grad.clone() for name, p in subject.parameters()}
    subject.optimizer.step()
    out |= {f"{prefix}/adaptive_lr/{name}": scale for name, scale in subject.optimizer.scales.items()}
    out |= {f"{prefix}/after/{name}": tensor for name, tensor in subject.state().items()}
    if whole:
        out |= {f"{prefix}/momentum/{name}": buffer.clone() for name, buffer in subject.optimizer.momentum().items()}
    return out, adversary


def record(authors, arguments):
    """The recording in f32, its companion in f64, and the adversaries of attacks that ran freely in f64."""
    torch.manual_seed(arguments.seed)
    subject = Subject(authors, arguments.model, arguments.width)
    originals, x1, x2 = prepare(subject, arguments.batch, arguments.warm_up)
    y = torch.randint(10, (arguments.batch,))
    init = subject.state(linear=True)
    tensors = {f"init/{name}": tensor for name, tensor in init.items()}
    tensors |= {"in/u8": (originals * 255).round().to(torch.uint8).permute(0, 2, 3, 1), "in/x1": x1, "in/x2": x2, "in/y": y}
    views = {"x1": x1, "x2": x2}
    tensors |= evaluation(subject, views, internal=True)
    tensors |= classifier_attack(subject, x1, y)
    step, adversary = training_step(subject, "step1", x1, x2)
    tensors |= step
    # The embeddings that a step had, in two views and in three.
    z = {2: step["step1/outputs"][: 2 * arguments.batch], 3: step["step1/outputs"]}
    tensors |= contrastive(subject, z)
    given = (x2 + EPSILON * torch.randn_like(x2).sign()).clamp(0, 1)
    tensors |= training_step(subject, "step2", x2, x1, given, whole=False)[0] | {"step2/adv_given": given}

    exact = Subject(authors, arguments.model, arguments.width, torch.float64)
    exact.load(init)
    views = {name: x.double() for name, x in views.items()}
    truths = evaluation(exact, views, internal=False) | contrastive(exact, {n: each.double() for n, each in z.items()})
    truths |= attack_gradients(exact, tensors["attack/x_traj"].double()[:-1], views["x2"])
    first = classifier_attack(exact, views["x1"], y, steps=1)
    truths |= {name: first[name] for name in ("pgd20/loss", "pgd20/grad0")}
    truths |= training_step(exact, "step1", views["x1"], views["x2"], adversary.double())[0]
    exact.load(init)
    instance = exact.contrast(views["x1"], views["x2"])[0]
    exact.load(init)
    return tensors, truths, (instance, classifier_attack(exact, views["x1"], y)["pgd20/x_final"])


def attack_gradients(subject, trajectory, target):
    """The attack's loss and gradient at given images: a single step from each."""
    losses, gradients = [], []
    for x in trajectory:
        state = subject.state(linear=True)
        with gradients_logged() as log:
            subject.contrast(x, target, steps=1)
        # The regulariser's pass has moved the running statistics.
        subject.load(state)
        losses.append(log[0][1])
        gradients.append(log[0][2])
    return {"attack/loss": torch.stack(losses), "attack/grad": torch.stack(gradients)}


def noise(tensors, truths, adversaries):
    """What rounding alone does, over the limit for it: f32 against f64 in features, in the medians over the attack's steps, over the images
    of PGD-20's first gradient and over the parameters, in the update of any one parameter, and in the pixels of free-running adversaries
    (median image), where one ReLU's flip in every image spoils the comparison."""

    def distance(found, truth):
        return ((found - truth).norm() / truth.norm()).item() if truth.norm() > 0 else 0.0

    def pixels(found, truth, step):
        return statistics.median_low(((found - truth).abs() > step / 2).double().mean(dim=(1, 2, 3)).tolist())

    def distances(name):
        return [distance(*pair) for pair in zip(tensors[name], truths[name])]

    def update(name):
        before = tensors[f"init/{name}"].double()
        return distance(tensors[f"step1/after/{name}"].double() - before, truths[f"step1/after/{name}"] - before)

    parameters = [name.removeprefix("step1/grad/") for name in truths if name.startswith("step1/grad/")]
    gradients = [distance(tensors[f"step1/grad/{name}"], truths[f"step1/grad/{name}"]) for name in parameters]
    instance, classifier = adversaries
    return {
        "features": (distance(tensors["eval/x1/feat"], truths["eval/x1/feat"]), NOISE),
        "attack's gradient": (statistics.median_high(distances("attack/grad")), NOISE),
        "parameters' gradients": (statistics.median_high(gradients), NOISE),
        "update": (max(update(name) for name in parameters), UPDATE),
        "adversary's pixels": (pixels(tensors["attack/x_traj"][-1], instance, ALPHA), PIXELS),
        PGD + " gradient": (statistics.median_high(distances("pgd20/grad0")), NOISE),
        PGD + " pixels": (pixels(tensors["pgd20/x_final"], classifier, EPSILON / 10), PIXELS),
    }


def settings(arguments):
    """The metadata: what the tensors do not tell."""
    values = {"eps": EPSILON, "alpha": ALPHA, "k": arguments.steps, "temperature": TEMPERATURE, "lamda": LAMDA, "lr": LEARNING_RATE}
    values |= {"momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY, "lars_trust": TRUST, "lars_eps": LARS_EPSILON}
    values |= {"bn_eps": 1e-5, "bn_momentum": 0.1, "model": arguments.model, "width": arguments.width, "batch": arguments.batch, "seed": arguments.seed}
    return {key: str(value) for key, value in (values | {"torch": torch.__version__}).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, metavar="SRC", help="the src folder of the authors' repository")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="NAME.safetensors; NAME_f64.safetensors is written beside it")
    parser.add_argument("--model", choices=["ResNet18", "ResNet50"], default="ResNet18")
    parser.add_argument("--width", type=int, default=8, metavar="W", help="channels of the stem; the authors' is 64 (default: 8)")
    parser.add_argument("--batch", type=int, default=4, metavar="B", help="images (default: 4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and images (default: 0)")
    parser.add_argument("--warm-up", type=int, default=60, metavar="N", help="training steps before recording (default: 60)")
    parser.add_argument("--steps", type=int, default=7, metavar="K", help="steps of the instance-wise attack (default: 7)")
    parser.add_argument("--without", nargs="+", default=[], metavar="GLOB", help="leave tensors out, such as 'pgd20/*', for a smaller file")
    arguments = parser.parse_args()
    for name, least in [("width", 1), ("batch", 2), ("warm_up", 0), ("seed", 0), ("steps", 1)]:
        if getattr(arguments, name) < least:
            parser.error(f"--{name.replace('_', '-')} has to be at least {least}")
    if arguments.batch > 256:
        parser.error("--batch has to be at most 256")
    if arguments.out.suffix != ".safetensors":
        parser.error("--out has to end in .safetensors")
    if not arguments.out.absolute().parent.is_dir():
        parser.error(f"{arguments.out.absolute().parent} is no folder; create it first")
    tensors, truths, adversaries = record(Authors(arguments.source, arguments.steps), arguments)
    left_out = {name for name in tensors if any(fnmatch.fnmatchcase(name, glob) for glob in arguments.without)}
    distances = noise(tensors, truths, adversaries)
    if "pgd20/x_final" in left_out:
        distances = {what: distance for what, distance in distances.items() if not what.startswith(PGD)}
    print("f32 from f64: " + ", ".join(f"{what} {distance:.1e}" for what, (distance, _) in distances.items()))
    too_far = [what for what, (distance, limit) in distances.items() if distance > limit]
    if too_far:
        sys.exit(f"error: at these weights rounding alone spoils the {' and the '.join(too_far)}; choose another --seed, or more --warm-up")
    companion = arguments.out.with_name(f"{arguments.out.stem}_f64.safetensors")
    for path, content in [(arguments.out, tensors), (companion, truths)]:
        kept = {name: tensor for name, tensor in content.items() if name not in left_out}
        save_file({name: tensor.detach().contiguous().clone() for name, tensor in kept.items()}, path, settings(arguments))
        print(f"wrote {path}: {len(kept)} tensors")


if __name__ == "__main__":
    main()
