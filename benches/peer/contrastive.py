"""NT-Xent, as RoCL has it."""

import torch

# Keeps quotients and logarithms finite; the released code's.
TINY = 1e-8


def nt_xent(z, views, temperature, groups=1, detach_keys=True):
    """Contrastive loss of `[views * batch, d]`, view after view, in f32 at least; the mean over independent groups of images."""
    z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
    rows = z.unflatten(0, (views, groups, -1)).transpose(0, 1).flatten(1, 2)
    unit = rows / (rows.norm(dim=2, keepdim=True) + TINY)
    keys = unit.detach() if detach_keys else unit
    # Autocast would have the products in 16 bits.
    with torch.autocast(z.device.type, enabled=False):
        similarity = unit @ keys.transpose(1, 2) / temperature
    others = 1 - torch.eye(rows.shape[1], device=z.device, dtype=rows.dtype)
    weights = similarity.exp() * others
    shares = weights / (weights.sum(dim=2, keepdim=True) + TINY)
    # Rows and columns of the same image: [groups, query's view, key's view, image].
    pairs = shares.unflatten(2, (views, -1)).unflatten(1, (views, -1)).diagonal(dim1=2, dim2=4)
    positive = 1 - torch.eye(views, device=z.device, dtype=rows.dtype).unsqueeze(2)
    return -((pairs + TINY).log() * positive).sum() / z.shape[0]
