"""What the runs of a comparison say together: whether losses agree, ratios with their spread, the table."""

import random
import statistics
from pathlib import Path

RESAMPLES = 10_000

# Relative difference allowed between losses of the first step, at initial weights: (main and regulariser, attack).
#
# fp32: at the same adversary they are 1e-7 apart, but a gradient near zero may get another sign from another order of sums. This
# changed up to 2 % of the adversary's pixels, thereby main loss and regulariser by 1e-4 at most, the attack's loss by 1e-7 (8 sizes
# and seeds). Another target or radius of the attack changes its loss by 8e-6 to 6e-5; no attack, the main loss by 4e-3.
# tf32 and fp16 have 11 bits of mantissa, bf16 8: rounding moves a cosine by 5e-4 or 4e-3, and a loss averages many.
# (Measured in PyTorch on trained weights, width 8, 4 images: 6e-4 in either.)
TOLERANCES = {"fp32": (3e-4, 5e-6), "tf32": (2e-3, 2e-3), "fp16": (2e-3, 2e-3), "bf16": (1e-2, 1e-2)}


class Contender:
    """A program with all its runs, as it printed them."""

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.runs, self.failed = [], None

    def add(self, result):
        """ValueError for a result without times or memory."""
        step, memory = result.get("step") or {}, result.get("peak_memory") or {}
        if not step.get("samples") or None in (step.get("median"), step.get("min"), step.get("max")):
            raise ValueError("its JSON has no time of a step")
        if memory.get("resident_bytes") is None:
            raise ValueError("its JSON has no peak memory")
        self.runs.append(result)

    def medians(self):
        """Median seconds of a step, of each run."""
        return [run["step"]["median"] for run in self.runs]

    def peak(self, where):
        """The largest peak over the runs, in bytes; `where` is device or resident. None where unknown."""
        return max((run["peak_memory"].get(f"{where}_bytes") or 0 for run in self.runs), default=0) or None

    def summary(self):
        """Seconds of a step: median of the runs' medians, and the fastest and slowest step of all."""
        steps = [run["step"] for run in self.runs]
        return {
            "median": statistics.median(self.medians()),
            "min": min(step["min"] for step in steps),
            "max": max(step["max"] for step in steps),
        }

    def record(self):
        status = f"failed: {self.failed}" if self.failed else "ok"
        summary = None if self.failed else self.summary()
        return {"name": self.name, "command": portable(self.command), "status": status, "step": summary, "runs": self.runs}


def portable(command):
    """A command without the paths of the machine: files of this repository from its root on, others by their names."""
    root = Path(__file__).resolve().parents[2]

    def word(text):
        path = Path(text)
        if not path.is_absolute():
            return text
        return str(path.relative_to(root)) if path.is_relative_to(root) else path.name

    return [word(str(text)) for text in command]


def disagreements(peers, precision):
    """A sentence for each loss of a peer's first step that is not the engine's."""
    found = []
    for peer in (peer for peer in peers if not peer.failed):
        run = peer.runs[0]
        passes, attack = TOLERANCES[precision]
        for loss, tolerance in {"main": passes, "regularizer": passes, "attack": attack}.items():
            ours, theirs = run["engine_losses"][loss], run["losses"][loss]
            difference = abs(theirs - ours) / max(abs(ours), 1e-30)
            # Not a number is a disagreement.
            if not difference <= tolerance:
                found.append(
                    f"{peer.name}: {loss} loss is {theirs:.6g}, the engine's {ours:.6g}; they may be {tolerance:.0e} apart"
                )
    return found


def ratios(contenders):
    """For each peer, fastest first: how many times the engine's time it takes, round by round."""
    engine, *peers = contenders
    rows = []
    for peer in sorted((peer for peer in peers if not peer.failed), key=lambda peer: peer.summary()["median"]):
        per_round = [theirs / ours for theirs, ours in zip(peer.medians(), engine.medians())]
        interval = bootstrap(per_round)
        median = statistics.median(per_round)
        rows.append(
            {
                "peer": peer.name,
                "median": median,
                "min": min(per_round),
                "max": max(per_round),
                "interval_95": interval,
                "rounds": per_round,
            }
        )
    return rows


def bootstrap(values):
    """The 95 % percentile interval of the median (Efron 1979); the same at every call."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return [medians[round(share * (RESAMPLES - 1))] for share in (0.025, 0.975)]


def table(result, contenders):
    """The comparison in lines, for people."""
    settings, on = result["settings"], result["machine"]
    where = "device" if settings["device"] == "cuda" else "resident"
    about = ", ".join(
        f"{key.replace('_', ' ')} {settings[key]}" for key in ("width", "batch_size", "attack_steps", "threads", "precision")
    )
    rows = [["", "ms/step", "min", "max", f"MiB {where}", "times the engine's", "95 %"]]
    by_name = {ratio["peer"]: ratio for ratio in result["ratios"]}
    for contender in (contender for contender in contenders if not contender.failed):
        summary, peak, ratio = contender.summary(), contender.peak(where), by_name.get(contender.name)
        row = [
            contender.name,
            *(f"{1000 * summary[key]:.2f}" for key in ("median", "min", "max")),
            f"{peak / 2**20:.0f}" if peak else "?",
        ]
        low, high = ratio["interval_95"] if ratio else (0, 0)
        rows.append(row + ([f"{ratio['median']:.3f}", f"{low:.3f} … {high:.3f}"] if ratio else ["1", ""]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [f"{on['gpu'] or on['cpu']}: {about}; {settings['rounds']} rounds of {settings['steps']} steps", ""]
    lines += [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    lines += [f"{contender.name}: failed: {contender.failed}" for contender in contenders if contender.failed]
    lines += ["", *(f"losses disagree: {sentence}" for sentence in result["disagreements"])]
    if result["ratios"]:
        best = result["ratios"][0]
        low, high = best["interval_95"]
        lines.append(
            f"The fastest peer, {best['peer']}, takes {best['median']:.3f} times the engine's time "
            f"(rounds {best['min']:.3f} to {best['max']:.3f}, 95 % interval {low:.3f} to {high:.3f})."
        )
    return "\n".join(lines)
