"""Tests of the peers and their driver, on the CPU: python -m unittest discover benches/peer"""

import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
import unittest
from functools import partial
from pathlib import Path

import torch
from algorithms import Ours, Reference
from arithmetic import Arithmetic
from authors import Released
from compare import peer_flags, without_random_start
from contrastive import nt_xent
from inputs import Inputs
from lars import ForeachLars, Lars
from network import Folded, Network
from recipe import preset
from report import Contender, bootstrap, disagreements, ratios
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHARED = Path(os.environ.get("ROCL_SHARED", ROOT.parent / "shared"))
VARIANTS = {"ours": Ours, "ours, folded": partial(Ours, fold=True)}


def setUpModule():
    torch.set_num_threads(1)


def distance(found, truth):
    """Relative L2; absolute where the truth is zero."""
    return ((found - truth).norm() / (truth.norm() if truth.norm() > 0 else 1)).item()


def small(**changes):
    return dataclasses.replace(preset("reference", width=4, batch_size=4), **changes)


def random_network(recipe, dtype=torch.float64):
    """Statistics that are not the initial ones, and a tensor of zeros for LARS to meet."""
    torch.manual_seed(0)
    network = Network(recipe)
    network(torch.rand(16, 3, 32, 32))
    with torch.no_grad():
        network.projector.linear_2.bias.zero_()
    return network.to(dtype)


def views(count=4, dtype=torch.float64):
    torch.manual_seed(1)
    return [torch.rand(count, 3, 32, 32, dtype=dtype) for _ in range(2)]


class Contrastive(unittest.TestCase):
    def test_it_is_the_definition_in_every_group(self):
        torch.manual_seed(0)
        count, groups, temperature = 6, 2, 0.5
        for n in (2, 3):
            z = torch.randn(n * count, 5, dtype=torch.float64)
            rows = [[value / (math.hypot(*row) + 1e-8) for value in row] for row in z.tolist()]
            total = 0.0
            for query in range(n * count):
                same = [
                    other
                    for other in range(n * count)
                    if other % count // (count // groups) == query % count // (count // groups)
                ]
                weights = {
                    k: math.exp(sum(a * b for a, b in zip(rows[query], rows[k])) / temperature) for k in same if k != query
                }
                positives = [weights[k] for k in weights if k % count == query % count]
                self.assertEqual(len(positives), n - 1)
                total -= sum(math.log(w / (sum(weights.values()) + 1e-8) + 1e-8) for w in positives)
            # The same sums in f64.
            self.assertAlmostEqual(nt_xent(z, n, temperature, groups).item(), total / (n * count), delta=1e-12)

    def test_detached_keys_change_the_gradient_alone(self):
        z = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
        detached, full = (nt_xent(z, 2, 0.5, detach_keys=detach) for detach in (True, False))
        self.assertEqual(detached.item(), full.item())
        short, long = (torch.autograd.grad(loss, z)[0] for loss in (detached, full))
        self.assertGreater(distance(short, long), 0.1)


class Steps(unittest.TestCase):
    def two_steps(self, make, recipe):
        """Losses of the first step, adversary's pixels, and the network after two: the second has momentum."""
        network = random_network(recipe)
        step = make(network, recipe, Arithmetic())
        x1, x2 = views()
        start = (x1 + 0.01).clamp(0, 1)
        adversary, _ = step.perturb(x1, x2, start)
        losses = step(x1, x2, start)
        step(x2, x1, x2)
        return losses, adversary, network.state_dict()

    def test_ours_is_the_reference(self):
        """In f64, where rounding is far from any sign."""
        recipes = {
            "as published": small(),
            "groups and full gradients": small(groups=2, detach_keys=False),
            "the other views": small(attack_to="original", regularize_to="original"),
            "ResNet-50": small(architecture="resnet50", attack_steps=2),
        }
        for about, recipe in recipes.items():
            truth_losses, truth_adversary, truth = self.two_steps(Reference, recipe)
            for name, make in VARIANTS.items():
                with self.subTest(recipe=about, variant=name):
                    losses, adversary, state = self.two_steps(make, recipe)
                    self.assertLess((losses - truth_losses).abs().max(), 1e-9)
                    self.assertLess((adversary - truth_adversary).abs().max(), 1e-9)
                    for key, tensor in truth.items():
                        self.assertLess((state[key] - tensor).abs().max(), 1e-9, key)

    def test_the_adversary_stays_in_the_ball_and_raises_the_loss(self):
        recipe = small(attack_steps=3)
        x1, x2 = views()
        step = Reference(random_network(recipe), recipe, Arithmetic())
        for start in (x1, step.draw_start(x1)):
            adversary, _ = step.perturb(x1, x2, start)
            self.assertLessEqual((adversary - x1).abs().max(), recipe.epsilon + 1e-12)
            self.assertTrue(((adversary >= 0) & (adversary <= 1)).all())
            step.network.eval()
            before, after = (step.loss_of_attacked(x, x2) for x in (start, adversary))
            step.network.train()
            self.assertGreater(after, before)

    def test_folding_is_exact(self):
        for architecture in ("resnet18", "resnet50"):
            network = random_network(small(architecture=architecture)).eval()
            folded = Folded(network.model, torch.float64)
            folded.refresh()
            with torch.no_grad():
                # f64; some 50 layers.
                self.assertLess(distance(folded(views()[0]), network.model(views()[0])), 1e-12)

    def test_foreach_lars_is_lars(self):
        recipe, generator = small(), torch.Generator().manual_seed(0)
        shapes = [(3, 4), (5,), (2, 2, 3, 3)]
        values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] + [
            torch.zeros(4, dtype=torch.float64)
        ]
        gradients = [[torch.randn(value.shape, generator=generator, dtype=torch.float64) for value in values] for _ in range(3)]
        results = []
        for make in (Lars, lambda parameters, recipe: ForeachLars(parameters, recipe, lambda function: function)):
            parameters = [value.clone().requires_grad_() for value in values]
            optimizer = make(parameters, recipe)
            for step in gradients:
                for p, gradient in zip(parameters, step):
                    p.grad = gradient.clone()
                optimizer.step()
            results.append(parameters)
        for one, other in zip(*results):
            self.assertLess((one - other).abs().max(), 1e-14)

    def test_sixteen_bits_keep_the_losses(self):
        recipe = small(attack_steps=2)
        x1, x2 = views(dtype=torch.float32)
        truth = Reference(random_network(recipe, torch.float32), recipe, Arithmetic())(x1, x2, x1)
        for precision in ("bf16", "fp16"):
            for make in (Reference, *VARIANTS.values()):
                losses = make(random_network(recipe, torch.float32), recipe, Arithmetic(precision))(x1, x2, x1)
                # The driver's tolerance for bf16, whose cosines are 4e-3 off at most.
                self.assertLess(((losses - truth) / truth).abs().max(), 1e-2)


class Recordings(unittest.TestCase):
    """Against what the authors' classes computed."""

    def recipe(self, path):
        return small(width=8, hidden=256, random_start=False), load_file(path)

    def network(self, recipe, golden):
        network = Network(recipe)
        given = {name: golden.get(f"init/{name.replace('.', '/', 1)}", tensor) for name, tensor in network.state_dict().items()}
        network.load_state_dict(given)
        return network

    def check_state(self, golden, prefix, step, network):
        """Momentum and parameters. One flipped ReLU moves a tensor by up to 1e-3, but not the median."""
        names = [name.replace(".", "/", 1) for name, _ in network.named_parameters()]
        buffers = dict(zip(names, step.optimizer.momentum()))
        recorded = [name for name in names if f"{prefix}/momentum/{name}" in golden]
        distances = [distance(buffers[name], golden[f"{prefix}/momentum/{name}"]) for name in recorded]
        if distances:
            self.assertLess(statistics.median(distances), 1e-5)
            self.assertLess(max(distances), 1e-3)
        state = {name.replace(".", "/", 1): tensor for name, tensor in network.state_dict().items()}
        recorded = [name for name in state if f"{prefix}/after/{name}" in golden and not name.endswith("num_batches_tracked")]
        self.assertGreater(len(recorded), 40)
        for name in recorded:
            # A step moves a tensor by 2.4e-4 of its norm, so this is 4e-3 of the move; rounding in f32 is 6e-8.
            self.assertLess(distance(state[name], golden[f"{prefix}/after/{name}"]), 1e-6, name)

    def check_first_step(self, path):
        recipe, golden = self.recipe(path)
        x1, x2, adversary = golden["in/x1"], golden["in/x2"], golden["attack/x_traj"][-1]
        for name, make in {"reference": Reference, **VARIANTS}.items():
            with self.subTest(variant=name, recording=path.name):
                network = self.network(recipe, golden)
                step = make(network, recipe, Arithmetic())
                found, loss = step.perturb(x1, x2, x1)
                # A flipped ReLU changes few pixels, and the loss that the attack reaches hardly.
                self.assertLess(((found - adversary).abs() > recipe.step_size / 2).double().mean(), 1e-3)
                self.assertLess(abs(loss.item() / golden["attack/loss"][-1].item() - 1), 1e-5)
                main, regularizer = step.gradients(x1, x2, adversary)
                self.assertLess(abs(main.item() / golden["step1/simloss"].item() - 1), 1e-5)
                self.assertLess(abs(regularizer.item() / golden["step1/adv_loss"].item() - 1), 1e-5)
                step.update()
                self.check_state(golden, "step1", step, network)
                if "step2/adv_given" in golden:
                    main, regularizer = step.gradients(x2, x1, golden["step2/adv_given"])
                    self.assertLess(abs((main + regularizer).item() / golden["step2/loss"].item() - 1), 1e-5)
                    step.update()
                    self.check_state(golden, "step2", step, network)

    def test_a_step_of_the_released_code(self):
        self.check_first_step(ROOT / "tests/golden/resnet18_w8_b4.safetensors")

    def test_two_steps_of_the_released_code(self):
        path = SHARED / "golden/golden_b4_w8.safetensors"
        if not path.is_file():
            self.skipTest(f"skipped: there is no {path}; ROCL_SHARED names the folder that has golden/")
        self.check_first_step(path)

    def test_the_released_code_itself(self):
        source = os.environ.get("ROCL_AUTHORS")
        if source is None:
            self.skipTest("skipped: ROCL_AUTHORS names no checkout of the authors' repository")
        recipe = small(random_start=False)
        x1, x2 = views(dtype=torch.float32)
        released = Released(Path(source), recipe, Arithmetic())
        network = Network(recipe)
        network.load_state_dict(released.network.state_dict())
        truth = released.first(x1, x2, x1)
        losses = Reference(network, recipe, Arithmetic())(x1, x2, x1)
        # The driver's tolerance in f32.
        self.assertLess(((losses - truth) / truth).abs().max(), 3e-4)


class Driver(unittest.TestCase):
    def test_the_presets_numbers(self):
        recipe = preset("reference")
        self.assertAlmostEqual(recipe.learning_rate, 0.24, delta=1e-12)
        self.assertEqual((recipe.groups, recipe.hidden, recipe.attack_steps), (2, 2048, 7))
        self.assertEqual(preset("paper").epsilon, 8 / 255)

    def test_specs(self):
        self.assertEqual(peer_flags("ours+fold+compile"), ["--algorithm", "ours", "--fold", "--mode", "compile"])
        self.assertEqual(peer_flags("released+channels-last", Path("RoCL")), ["--authors", "RoCL", "--channels-last"])
        for wrong in ("theirs", "ours+faster", "released"):
            self.assertRaises(ValueError, peer_flags, wrong)

    def contender(self, name, medians, losses=(4.0, 0.01, 1.9)):
        contender = Contender(name, [name])
        for median in medians:
            times = {"median": median, "min": median, "max": median, "samples": [median]}
            found, engine = (dict(zip(("main", "regularizer", "attack"), values)) for values in (losses, (4.0, 0.01, 1.9)))
            memory = {"device_bytes": None, "resident_bytes": 1}
            contender.add({"step": times, "losses": found, "engine_losses": engine, "peak_memory": memory})
        return contender

    def test_ratios_are_of_the_same_round_and_the_fastest_comes_first(self):
        # The machine was half as fast in the second round, and nobody's ratio shows it.
        engine, slow, fast = (self.contender(name, [t, 2 * t, t]) for name, t in [("engine", 1.0), ("slow", 3.0), ("fast", 1.5)])
        failed = Contender("failed", [])
        failed.failed = "no compiler"
        first, second = ratios([engine, slow, failed, fast])
        self.assertEqual(
            (first["peer"], first["median"], first["min"], first["max"], first["interval_95"]),
            ("fast", 1.5, 1.5, 1.5, [1.5, 1.5]),
        )
        self.assertEqual((second["peer"], second["rounds"]), ("slow", [3.0, 3.0, 3.0]))

    def test_the_interval_narrows_with_more_rounds(self):
        samples = [[1 + 0.1 * n / (count - 1) for n in range(count)] for count in (5, 201)]
        (low, high), (closer_low, closer_high) = map(bootstrap, samples)
        self.assertTrue(1 <= low < closer_low < 1.05 < closer_high < high <= 1.1)
        # The median of evenly spread values has standard error range / (2 sqrt(n)); 1.96 of it either way, to a quarter.
        self.assertAlmostEqual(closer_high - closer_low, 1.96 * 0.1 / math.sqrt(201), delta=0.25 * 0.0138)

    def test_results_without_figures_are_refused(self):
        whole = self.contender("whole", [1.0]).runs[0]
        empty = {"median": None, "min": None, "max": None, "samples": []}
        for lacking in (whole | {"step": empty}, whole | {"step": None}, whole | {"peak_memory": {}}, {}):
            self.assertRaises(ValueError, Contender("lacking", []).add, lacking)

    def test_losses_that_differ_are_named(self):
        same = self.contender("same", [1.0], (4.0008, 0.010002, 1.900005))
        other = self.contender("other", [1.0], (4.002, 0.01, 1.9))
        unknown = self.contender("unknown", [1.0], (4.0, 0.01, math.nan))
        found = disagreements([same, other, unknown], "fp32")
        self.assertEqual([sentence.split(" loss is")[0] for sentence in found], ["other: main", "unknown: attack"])

    def test_inputs_are_a_checkpoint_and_more(self):
        recipe = small()
        table = tomllib.loads(without_random_start("reference"))
        table["network"]["width"], table["train"]["batch_size"] = recipe.width, recipe.batch_size
        network, images = random_network(recipe, torch.float32), torch.rand(4, 32, 32, 3)
        state = {name.replace(".", "/", 1): tensor.clone() for name, tensor in network.state_dict().items()}
        grouped = {
            f"{'statistics' if 'running' in name else 'parameters'}/{name}": tensor
            for name, tensor in state.items()
            if not name.endswith("num_batches_tracked")
        }
        losses = {"main": 4.0, "regularizer": 0.5, "attack": 2.0}
        files = [
            (state | {"step/x1": images, "step/x2": images + 1, "step/losses": torch.tensor([4.0, 0.5, 2.0])}, {}),
            (grouped | {"x1": images, "x2": images + 1}, {"losses": json.dumps(losses)}),
        ]
        for tensors, meta in files:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "step.safetensors"
                save_file(tensors, path, meta | {"recipe": json.dumps(table)})
                inputs = Inputs(path)
            self.assertEqual((inputs.losses, inputs.recipe), (losses, dataclasses.replace(recipe, random_start=False)))
            self.assertTrue(torch.equal(inputs.x2[3, 1], images[3, :, :, 1] + 1))
            loaded = Network(recipe)
            inputs.load_into(loaded)
            self.assertTrue(all(torch.equal(a, b) for a, b in zip(loaded.parameters(), network.parameters())))
            self.assertTrue(torch.equal(loaded.model.bn1.running_var, network.model.bn1.running_var))
            inputs.state.pop("model.conv1.weight")
            self.assertRaises(RuntimeError, inputs.load_into, loaded)

    def test_a_comparison(self):
        """With a stand-in for the engine, from its weights to the exit code; one of the peers cannot run."""
        with tempfile.TemporaryDirectory() as folder:
            engine, out = Path(folder) / "rocl", Path(folder) / "results/comparison.json"
            engine.write_text(
                f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(HERE)!r})\nfrom fake_engine import main\nmain()\n"
            )
            engine.chmod(0o755)
            sizes = ["--width", "16", "--batch-size", "4", "--threads", "1", "--rounds", "1", "--steps", "1", "--warmup", "0"]
            peers = ["--peer", "ours+fold+channels-last", "--peer", "ours+graph"]
            command = [sys.executable, str(HERE / "compare.py"), "--engine", str(engine), *sizes, *peers, "--out", str(out)]
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("ours+graph: failed: CUDA graphs need --device cuda", done.stdout)
            result = json.loads(out.read_text())
            self.assertEqual([contender["status"][:6] for contender in result["contenders"]], ["ok", "ok", "failed"])
            self.assertEqual(
                ([row["peer"] for row in result["ratios"]], result["disagreements"]), (["ours+fold+channels-last"], [])
            )
            self.assertIs(result["contenders"][1]["runs"][0]["recipe"]["random_start"], False)


if __name__ == "__main__":
    unittest.main()
