"""LARS: momentum SGD with every tensor's gradient scaled to the tensor's norm; none is left out."""

import torch

# The released code's, in the denominator.
TINY = 1e-8


class Lars(torch.optim.SGD):
    """One tensor after the other, around PyTorch's SGD, as the package does that the released code uses."""

    def __init__(self, parameters, recipe):
        super().__init__(parameters, lr=recipe.learning_rate, momentum=recipe.momentum)
        self.trust, self.decay = recipe.trust, recipe.weight_decay

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            p_norm, g_norm = p.norm(), p.grad.norm()
            trusted = self.trust * p_norm / (g_norm + self.decay * p_norm + TINY)
            p.grad.add_(p, alpha=self.decay).mul_(torch.where((p_norm > 0) & (g_norm > 0), trusted, 1.0))
        super().step()

    def momentum(self):
        """The buffers, in the order of the parameters."""
        return [self.state[p]["momentum_buffer"] for p in self.param_groups[0]["params"]]


class ForeachLars(torch.optim.Optimizer):
    """All tensors in one call per operation."""

    def __init__(self, parameters, recipe, compiled):
        super().__init__(parameters, {})
        self.recipe = recipe
        # A buffer of zeros makes the first step like the others: 0.9 * 0 + g = g.
        self.buffers = [torch.zeros_like(p) for p in self.param_groups[0]["params"]]
        self.apply = compiled(self.update)

    @torch.no_grad()
    def step(self):
        parameters = self.param_groups[0]["params"]
        self.apply([p.detach() for p in parameters], [p.grad for p in parameters], self.buffers)

    def update(self, parameters, gradients, buffers):
        recipe = self.recipe
        p_norms, g_norms = (torch.stack(torch._foreach_norm(tensors)) for tensors in (parameters, gradients))
        trusted = recipe.trust * p_norms / (g_norms + recipe.weight_decay * p_norms + TINY)
        scales = torch.where((p_norms > 0) & (g_norms > 0), trusted, 1.0)
        torch._foreach_add_(gradients, parameters, alpha=recipe.weight_decay)
        torch._foreach_mul_(gradients, list(scales.unbind()))
        torch._foreach_mul_(buffers, recipe.momentum)
        torch._foreach_add_(buffers, gradients)
        torch._foreach_add_(parameters, buffers, alpha=-recipe.learning_rate)

    def momentum(self):
        """The buffers, in the order of the parameters."""
        return self.buffers
