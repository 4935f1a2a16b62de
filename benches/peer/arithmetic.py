"""Precision, memory format, and the scaling of losses that 16-bit gradients need."""

import torch

PRECISIONS = {"fp32": None, "tf32": None, "fp16": torch.float16, "bf16": torch.bfloat16}

# For fp16, times the batch size: keeps the attack's gradients clear of both ends of the range. Only their sign
# counts: on trained weights all factors from 1 to 65536 give the same share of right ones.
ATTACK_SCALE = 256.0
# Where a step may not look at its gradients (in a CUDA graph); what GradScaler begins with.
FIXED_SCALE = 65536.0


class FixedScale:
    """GradScaler's part for a scale that never changes."""

    def scale(self, loss):
        return loss * FIXED_SCALE

    def unscale_(self, optimizer):
        torch._foreach_mul_([p.grad for group in optimizer.param_groups for p in group["params"]], 1 / FIXED_SCALE)

    def step(self, optimizer):
        optimizer.step()

    def update(self):
        pass


class Arithmetic:
    """How a step computes. Sets PyTorch's global switches: one per process."""

    def __init__(self, precision="fp32", device="cpu", channels_last=False, captured=False):
        if precision == "tf32" and device == "cpu":
            raise ValueError("tf32 is for CUDA devices; give --precision fp32")
        self.dtype, self.device = PRECISIONS[precision], torch.device(device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        # PyTorch's default for convolutions is tf32, so fp32 has to be asked for; by the old switches, which torch.compile reads.
        for switch in (torch.backends.cuda.matmul, torch.backends.cudnn):
            switch.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        scaled = precision == "fp16"
        self.scaler = FixedScale() if scaled and captured else torch.amp.GradScaler(device, enabled=scaled)
        self.attack_scale = ATTACK_SCALE if scaled else None

    def autocast(self):
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None)

    def placed(self, images):
        """Images on the device, in the memory format."""
        return images.to(self.device, memory_format=self.memory_format)
