"""A step of RoCL's pretraining (Algorithm 1 of the paper), from two given views: the reference's way and the engine's."""

import contextlib

import torch
from lars import ForeachLars, Lars
from contrastive import nt_xent
from network import Folded


class Reference:
    """The operations of the released code, in its order.

    Views are `[batch, 3, 32, 32]`; so is `start`, where the attack begins.
    """

    def __init__(self, network, recipe, arithmetic, compiled=lambda function: function):
        self.network, self.recipe, self.arithmetic = network, recipe, arithmetic
        self.pass_loss, self.attack_loss = compiled(self.loss_of), compiled(self.loss_of_attacked)
        self.move = compiled(self.project)
        self.optimizer = self.make_optimizer(compiled)
        network.train()

    def make_optimizer(self, _compiled):
        return Lars(list(self.network.parameters()), self.recipe)

    def draw_start(self, x1):
        """A random point of the ball around `x1`; the noise is drawn on the CPU."""
        if not self.recipe.random_start:
            return x1
        noise = torch.empty(x1.shape).uniform_(-self.recipe.epsilon, self.recipe.epsilon)
        return (x1 + noise.to(x1)).clamp(0, 1)

    def __call__(self, x1, x2, start):
        """A whole step. Returns its losses, `[3]`: main, regulariser, the attack's at its last step."""
        adversary, attack = self.perturb(x1, x2, start)
        main, regularizer = self.gradients(x1, x2, adversary)
        self.update()
        return torch.stack([loss.detach() for loss in (main, regularizer, attack)])

    def perturb(self, x1, x2, start):
        """The adversary, and the attack's loss at the last step."""
        target = x2 if self.recipe.attack_to == "other" else x1
        x, loss = start, x1.new_zeros(())
        self.network.eval()
        with self.attacking(target) as fixed:
            for _ in range(self.recipe.attack_steps):
                x = x.detach().requires_grad_()
                with self.arithmetic.autocast():
                    loss = self.attack_loss(x, fixed)
                scaled = loss if self.arithmetic.attack_scale is None else loss * (self.arithmetic.attack_scale * len(x))
                (gradient,) = torch.autograd.grad(scaled, x)
                x = self.move(x.detach(), gradient, x1)
        self.network.train()
        return x, loss

    @contextlib.contextmanager
    def attacking(self, target):
        """The state of the network during an attack. Yields what the attack's loss takes besides x."""
        yield target

    def loss_of_attacked(self, x, target):
        """The target is embedded along with x, and both are propagated back."""
        recipe = self.recipe
        return nt_xent(self.network(torch.cat((x, target))), 2, recipe.temperature, recipe.groups, recipe.detach_keys)

    def project(self, x, gradient, clean):
        """A step of PGD."""
        epsilon, step_size = self.recipe.epsilon, self.recipe.step_size
        x = (x + step_size * gradient.sign()).clamp(0, 1)
        return torch.max(torch.min(x, clean + epsilon), clean - epsilon)

    def loss_of(self, images, views, groups):
        """The loss of a training pass. Moves the running statistics."""
        return nt_xent(self.network(images), views, self.recipe.temperature, groups, self.recipe.detach_keys)

    def regularizer(self, x1, x2, adversary):
        pair = torch.cat((adversary, x2 if self.recipe.regularize_to == "other" else x1))
        with self.arithmetic.autocast():
            return self.pass_loss(pair, 2, self.recipe.groups) / self.recipe.lamda

    def main(self, x1, x2, adversary):
        images = torch.cat((x1, x2, adversary))
        with self.arithmetic.autocast():
            return self.pass_loss(images, 3, 1)

    def gradients(self, x1, x2, adversary):
        """Main loss and regulariser, and the gradient of their sum; both passes are kept until then."""
        self.optimizer.zero_grad(set_to_none=True)
        regularizer = self.regularizer(x1, x2, adversary)
        main = self.main(x1, x2, adversary)
        self.arithmetic.scaler.scale(main + regularizer).backward()
        return main, regularizer

    def update(self):
        scaler = self.arithmetic.scaler
        # LARS compares the gradient's norm with the parameters'.
        scaler.unscale_(self.optimizer)
        scaler.step(self.optimizer)
        scaler.update()


class Ours(Reference):
    """The same step for less: in an attack the target's embedding is constant, and only x has to be propagated back."""

    def __init__(self, network, recipe, arithmetic, compiled=lambda function: function, fold=False):
        self.folded = None
        if fold:
            weight = network.model.conv1.weight
            self.folded = Folded(network.model, arithmetic.dtype or weight.dtype)
        super().__init__(network, recipe, arithmetic, compiled)
        self.refresh = compiled(self.folded.refresh) if fold else lambda: None

    def make_optimizer(self, compiled):
        return ForeachLars(list(self.network.parameters()), self.recipe, compiled)

    def draw_start(self, x1):
        """A random point of the ball around `x1`."""
        if not self.recipe.random_start:
            return x1
        return torch.empty_like(x1).uniform_(-self.recipe.epsilon, self.recipe.epsilon).add_(x1).clamp_(0, 1)

    def embed_attacked(self, images):
        return self.network.projector((self.folded or self.network.model)(images))

    @contextlib.contextmanager
    def attacking(self, target):
        """Parameters that ask for no gradient keep nothing for one. Yields the target's embeddings."""
        self.network.requires_grad_(False)
        self.refresh()
        with torch.no_grad(), self.arithmetic.autocast():
            embedded = self.embed_attacked(target)
        yield embedded
        self.network.requires_grad_(True)

    def loss_of_attacked(self, x, embedded):
        recipe = self.recipe
        z = torch.cat((self.embed_attacked(x), embedded))
        return nt_xent(z, 2, recipe.temperature, recipe.groups, recipe.detach_keys)

    def project(self, x, gradient, clean):
        """The order of clamps does not matter, since the clean image is in [0, 1]: one, to the intersection."""
        epsilon, step_size = self.recipe.epsilon, self.recipe.step_size
        low, high = (clean - epsilon).clamp_(min=0), (clean + epsilon).clamp_(max=1)
        return torch.add(x, gradient.sign(), alpha=step_size).clamp_(low, high)

    def gradients(self, x1, x2, adversary):
        """Main loss and regulariser, and the gradient of their sum; one pass after the other, so that less is kept."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for pass_of in (self.regularizer, self.main):
            loss = pass_of(x1, x2, adversary)
            self.arithmetic.scaler.scale(loss).backward()
            losses.append(loss.detach())
        regularizer, main = losses
        return main, regularizer
