"""Times and memory of a step, and a step as one CUDA graph."""

import time
from itertools import pairwise
from pathlib import Path

import torch

# On a side stream before capture, so that libraries have chosen their algorithms.
WARM_UP_OF_CAPTURE = 3


class Captured:
    """A step of algorithms.py recorded as one CUDA graph and replayed. The parameters are afterwards what they were before."""

    def __init__(self, step, x1, x2, start):
        self.start = start.clone()
        state = [tensor.detach().clone() for tensor in self.state(step)]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_OF_CAPTURE):
                step(x1, x2, self.start)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.no_grad():
            for tensor, before in zip(self.state(step), state):
                tensor.copy_(before)
            # Zero momentum makes the next step a first one: 0.9 * 0 + g = g.
            for buffer in step.optimizer.momentum():
                buffer.zero_()
        # What the graph needs is allocated during capture.
        torch.cuda.reset_peak_memory_stats()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.losses = step(x1, x2, self.start)
        self.draw_start = step.draw_start

    @staticmethod
    def state(step):
        return [*step.network.parameters(), *step.network.buffers()]

    def __call__(self, _x1, _x2, start):
        self.start.copy_(start)
        self.graph.replay()
        return self.losses


class Memory:
    """Peak memory above what the process had when this was made: on the CPU resident, on CUDA allocated by PyTorch.

    The CPU's counts what the allocator keeps for reuse, but not PyTorch's own code, which was there before.
    """

    def __init__(self, device):
        self.device, self.baseline = device, resident("VmRSS")

    def reset(self):
        """Begins the period that the peak is of."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        # Linux: sets VmHWM back to VmRSS.
        Path("/proc/self/clear_refs").write_text("5")

    def peak(self):
        on_device = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
        return {"device_bytes": on_device, "resident_bytes": resident("VmHWM") - self.baseline}


def resident(key):
    """A figure of /proc/self/status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def timed(step, x1, x2, steps, device):
    """Seconds of each of `steps` steps, the draw of the start included. On CUDA between events, steps queued without a wait."""

    def one():
        step(x1, x2, step.draw_start(x1))

    if device.type == "cpu":
        times = [time.perf_counter()]
        for _ in range(steps):
            one()
            times.append(time.perf_counter())
        return [end - begin for begin, end in pairwise(times)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    events[0].record()
    for event in events[1:]:
        one()
        event.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) / 1000 for begin, end in pairwise(events)]
