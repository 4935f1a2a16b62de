"""A step of the authors' released code: its encoder, projector, losses and attack as they are, from a checkout."""

import sys
from pathlib import Path

import torch
from lars import Lars

sys.path.append(str(Path(__file__).parents[2] / "tools"))
from record import Authors, gradients_logged  # noqa: E402

NAMES = {"resnet18": "ResNet18", "resnet50": "ResNet50"}


class Released:
    """Interface of algorithms.Reference. Written here is LARS only, whose package needs CUDA to install."""

    def __init__(self, source, recipe, arithmetic):
        if recipe.groups > 1 or not recipe.detach_keys or arithmetic.dtype is not None:
            raise ValueError(
                "the released code has one group per process, detached keys and no 16-bit mode; change recipe or precision"
            )
        if recipe.hidden != 32 * recipe.width or recipe.projection != 128:
            raise ValueError("the released code's projector has 32 * width hidden units and 128 outputs; choose such a recipe")
        send = torch.Tensor.cuda
        self.authors = Authors(source / "src" if (source / "src").is_dir() else source)
        # Loading it made .cuda() do nothing, for the CPU's sake.
        if arithmetic.device.type == "cuda":
            torch.Tensor.cuda = send
        self.recipe, self.device = recipe, arithmetic.device
        self.network = torch.nn.ModuleDict()
        self.network["model"], self.network["projector"] = self.authors.networks(NAMES[recipe.architecture], recipe.width)
        self.network.to(arithmetic.device, memory_format=arithmetic.memory_format)
        self.optimizer = Lars(list(self.network.parameters()), recipe)
        self.attack = self.authors.attacks.RepresentationAdv(
            *(self.network[part] for part in ("model", "projector")),
            epsilon=recipe.epsilon,
            alpha=recipe.step_size,
            min_val=0.0,
            max_val=1.0,
            max_iters=recipe.attack_steps,
            loss_type="sim",
            regularize=recipe.regularize_to,
        )

    def draw_start(self, x1):
        """No start: the attack draws its own."""
        return x1

    def first(self, x1, x2, start):
        """A step that returns the attack's loss, too, which the code keeps to itself."""
        with gradients_logged() as log:
            losses = self(x1, x2, start)
        if log:
            losses[2] = log[-1][1]
        return losses

    def __call__(self, x1, x2, _start):
        """Losses as in algorithms.Reference, the attack's unknown."""
        target = x2 if self.recipe.attack_to == "other" else x1
        adversary, regularizer = self.attack.get_loss(
            original_images=x1,
            target=target,
            optimizer=self.optimizer,
            weight=self.recipe.lamda,
            random_start=self.recipe.random_start,
        )
        outputs = self.network["projector"](self.network["model"](torch.cat((x1, x2, adversary))))
        similarity, _ = self.authors.loss.pairwise_similarity(
            outputs, temperature=self.recipe.temperature, multi_gpu=False, adv_type="Rep"
        )
        main = self.authors.loss.NT_xent(similarity, "Rep")
        self.optimizer.zero_grad()
        (main + regularizer).backward()
        self.optimizer.step()
        return torch.stack([main.detach(), regularizer.detach(), torch.full_like(main.detach(), torch.nan)])
