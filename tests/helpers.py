"""What several test files use: small spaces, networks, data sets and stand-ins."""

import ctypes
import os
import shlex
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy
from typer.main import get_command

from tinynas import Budget, SearchSpace, SideNet, Supernet, build, cost
from tinynas.arch.arch import Arch
from tinynas.arch.blocks import Stem
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.data.base import Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.experiment.config import RetrainConfig
from tinynas.models.model_file import Model
from tinynas.study.feasible import Feasible
from tinynas.study.history import Evaluation, History
from tinynas.study.loop import search as search_feasible
from tinynas.study.samplers import SAMPLERS, FeasibleSampler
from tinynas.training.backend import use_backend
from tinynas.training.loop import set_rate, train, train_step
from tinynas.training.objectives import SandwichObjective
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import FileError
from tinynas.utils.overrides import Overrides
from tinynas.utils.rng import generator

ROOT = Path(__file__).parent.parent

SMALL = {
    "resolution": [8, 12],
    "divisor": 4,
    "in_channels": 1,
    "classes": 3,
    "stem": {"width": [4, 8], "stride": 1},
    "stages": [
        {"depth": [1, 2], "width": [4, 8], "kernel": [3, 5], "expand": [1, 2], "stride": 2, "se": [0, 4]},
        {
            "depth": [1, 2],
            "width": [8, 12],
            "kernel": [3, 5, 7],
            "expand": [1, 2],
            "stride": 1,
            "act": ["relu", "hswish"],
        },
    ],
    "head": {"conv": [8, 16], "hidden": [8, 16], "act": "hswish"},
}

DETECTORS = {
    "resolution": [32, 64],
    "divisor": 4,
    "in_channels": 1,
    "classes": 3,
    "stem": {"width": [4, 8]},
    "stages": [
        {"width": [4, 8], "kernel": 3, "expand": [1, 2], "stride": 2},
        {"depth": [1, 2], "width": [8, 12], "kernel": [3, 5], "expand": [1, 2], "stride": 2, "se": [0, 4]},
        {"depth": [1, 2], "width": [8, 12], "kernel": [3, 5], "stride": 2},
        {"depth": [1, 2], "width": [8, 16], "kernel": 3, "expand": [1, 2], "stride": 2},
        {"width": [8, 16], "kernel": 3, "act": "hswish", "stride": 1},
    ],
    "head": {"width": [8, 12], "levels": 3, "convs": [1, 2], "kernel": [3, 5]},
}

TINY = Arch(  # few tensors and little metadata: a small file
    resolution=8, in_channels=1, classes=2, stem=Stem(out=2), stages=((InvertedResidual(out=2, kernel=3),),)
)

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05)


SPACE = SearchSpace.from_dict(SMALL)
TRAINING_RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, warmup_epochs=1.0)


def slow_except(values, *fast):
    """Parameters of a test, all but some of which plain pytest leaves out."""
    return [value if value in fast else pytest.param(value, marks=pytest.mark.slow) for value in values]


def sampled(space, number):
    """The arch of this number, counted from 0, of those that a space gives one after the other."""
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(number + 1)][-1]


def model_of(arch, *, classes=None):
    """A model with fresh weights, and biases and statistics that do something."""
    torch.manual_seed(0)
    net = build(arch)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        elif getattr(module, "bias", None) is not None:
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    channels = arch.in_channels
    normalise = Normalisation(mean=(0.4,) * channels, std=(0.25,) * channels)
    names = classes or tuple(f"class {i}" for i in range(arch.classes))
    return Model(net=net.eval(), data="small", classes=names, normalise=normalise, crop=7 / 8)


def flipped(raw, bit):
    """Bytes with one bit changed."""
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def result_or_error(function, *args):
    """What a function returns, or its FileError, whose message must be one line."""
    try:
        return function(*args)
    except FileError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    return FileError(message)


def same_model(model, other):
    """Whether two models are equal to the bit."""
    weights, others = model.net.state_dict(), other.net.state_dict()
    return (
        (model.net.arch, model.data, model.classes) == (other.net.arch, other.data, other.classes)
        and (model.normalise, model.crop, model.net.training) == (other.normalise, other.crop, other.net.training)
        and list(weights) == list(others)
        and all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    )


class Quiet:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def advance(self, task, done, total, text):
        assert 0 <= done <= total


class Watched(MemorySplit):
    """A split that remembers when it is looked at."""

    looked: list
    not_before = None

    def batches(self, *args):
        assert not self.not_before or self.not_before.exists(), "test images seen before the model was written"
        self.looked.append(len(args))
        return super().batches(*args)


class SplitThatFails(MemorySplit):
    """A split that can only be read by the process that made it. It is here, as workers must be able to import it."""

    def batches(self, requests, normalise):
        if os.getpid() != self.pid:
            raise MemoryError("no memory for images")
        time.sleep(0.1)  # for the others to begin
        return super().batches(requests, normalise)

    pid: int


class CountedPart(nn.Module):
    """A part of a network with early exits that records how many images it runs on."""

    def __init__(self, part):
        super().__init__()
        self.part, self.runs = part, []
        self.batch_dims = part.batch_dims

    def forward(self, *carried):
        self.runs.append(carried[0].shape[0])
        return self.part(*carried)


class Encoder(nn.Module):
    """A transformer that reads rows of pixels, or words with a padding mask."""

    def __init__(self, words=False, batch_first=True):
        super().__init__()
        self.words, self.batch_first = words, batch_first
        self.embed = nn.Embedding(20, 16) if words else nn.Linear(12, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classify = nn.Linear(16, 4)

    def forward(self, x):
        mask = (x == 0) if self.words else None
        tokens = self.embed(x if self.words else x.squeeze(1))  # (N, S, 16)
        if not self.batch_first:
            tokens = tokens.transpose(0, 1)
        return self.classify(self.layers(tokens, src_key_padding_mask=mask).mean(1 if self.batch_first else 0))


def same_batches(batches, other):
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(batches, other, strict=True))


class Interrupting(Quiet):
    """Ctrl-C at a step."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def advance(self, task, done, total, text):
        if done == self.after:
            raise KeyboardInterrupt


def run_search(space, budget, evaluate, *, journal, **settings):
    feasible = Feasible(space=space, budget=budget)
    return search_feasible(feasible, evaluate, storage=str(journal), **settings).evaluations


def evaluated(feasible, archs, evaluate):
    """The evaluations of archs."""
    return [Evaluation(arch=arch, accuracy=evaluate(arch), cost=feasible.cost_of(arch)) for arch in archs]


def sampled_search(feasible, sampler, evaluate, *, trials, seed=0, objectives=(), workers=1):
    """The evaluations of a search without a storage; the networks of all workers but one are always pending."""
    proposals = FeasibleSampler(feasible, SAMPLERS[sampler](feasible, objectives=objectives))
    archs, evaluations = feasible.start_points(8, generator(seed, "start points")), []
    while len(evaluations) < trials:
        pending = archs[len(evaluations) :]
        if len(pending) >= workers:
            evaluations += evaluated(feasible, pending[:1], evaluate)
        else:
            history = History(evaluations=evaluations, pending=pending, taken=set(archs))
            archs.append(proposals.propose(history, generator(seed, "sampler", len(archs))))
    return evaluations


def score(arch):
    """Stands for accuracy: rises with size, and a little with kernels."""
    kernels = sum(block.kernel for stage in arch.stages for block in stage)
    return float(np.log(cost(arch).params) + 0.05 * kernels)


def limits(name):
    low, high = getattr(cost(SPACE.min()), name), getattr(cost(SPACE.max()), name)
    return st.one_of(st.none(), st.integers(low, high))


budgets = st.builds(
    Budget, macs=limits("macs"), params=limits("params"), peak_sram=limits("peak_sram"), flash=limits("flash")
)


def compiled_sources(folder, *sources, defines=()):
    """A shared library of C and C++ sources; index errors and undefined behaviour trap."""
    library, flags = folder / "compiled.so", ["-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-fPIC", f"-I{folder}"]
    flags += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", *(f"-D{define}" for define in defines)]
    objects = []
    for source in sources:
        compiler = ["cc", "-std=c99"] if source.endswith(".c") else ["c++", "-std=c++17"]
        if not shutil.which(compiler[0]):
            pytest.skip("there is no compiler")
        objects.append(folder / f"{source}.o")
        subprocess.run([*compiler, *flags, "-c", folder / source, "-o", objects[-1]], check=True, capture_output=True)
    subprocess.run(["cc", "-shared", *objects, "-o", library], check=True, capture_output=True)
    return ctypes.CDLL(str(library))


def images_for(arch, count=1):
    return torch.randn(count, *arch.input_shape)


def sidenet_of(arch, taps=("stages.0",), seed=0):
    """A SideNet with heads that say something, on a network with statistics that do."""
    torch.manual_seed(seed)
    net = SideNet(model_of(arch).net, taps, 5, inputs=images_for(arch))
    net.fit([(images_for(arch, 40), torch.arange(40) % arch.classes)])
    return net


def trained_supernet(space, steps=2):
    """A supernet whose norms have statistics and whose optimizer has momentum."""
    torch.manual_seed(0)
    supernet = Supernet(space).train()
    for module in supernet.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.3)  # so that the logits say what comes before
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    largest = space.max()
    for _ in range(steps):
        images = torch.randn(4, *largest.input_shape)
        optimizer.zero_grad()
        cross_entropy(supernet(images, largest).flatten(1), torch.arange(4) % largest.classes).backward()
        optimizer.step()
    return supernet, optimizer


class Stopped(Exception):
    pass


def train_supernet(space, data, checkpoint, *, recipe=TRAINING_RECIPE, stop_after=None, objective=None, sort=False):
    torch.manual_seed(0)
    supernet = Supernet(space)
    use_backend(supernet, recipe, note=str)

    def after_step(progress):
        if progress.step == stop_after:
            raise Stopped

    train(
        supernet,
        lambda epoch: objective or SandwichObjective(space),
        data,
        recipe,
        resolutions=space.resolution,
        checkpoint=checkpoint,
        before_epoch=lambda epoch, optimizer: supernet.sort_channels(optimizer) if sort else None,
        after_step=after_step,
    )
    return supernet.state_dict()


class FailingObjective:
    """An objective whose loss is nan at these calls."""

    repeats = None
    reports_last = False

    def __init__(self, space, steps):
        self.space, self.steps = space, steps
        self.calls = iter(range(1000))

    def losses(self, supernet, batch, rng):
        factor = float("nan") if next(self.calls) in self.steps else 1.0
        arch = replace(self.space.max(), resolution=batch.images.shape[-1])
        yield factor * torch.nn.functional.cross_entropy(supernet(batch.images, arch), batch.labels)


def zero_rate_step(supernet, objective, batch, optimizer, precision, *, max_grad_norm=0.0):
    """A step whose learning rate leaves the weights as they are."""
    set_rate(optimizer, 0.0)
    return train_step(supernet, objective, batch, None, optimizer, precision, max_grad_norm=max_grad_norm)


def overrides(**settings):
    """Settings of a retraining, by name."""
    return Overrides.read(settings, RetrainConfig)


def check_next_command(text):
    """Check that a command's words after "tinynas" are valid options and values, and name files that exist."""
    from tinynas.cli.app import app

    name, *words = shlex.split(text)
    command = get_command(app).commands[name]
    options = command.make_context(name, words).params
    for option in ("out", "plots"):
        options.pop(option, None)
    for value in options.values():
        for item in value if isinstance(value, list | tuple) else [value]:
            is_file = isinstance(item, Path) or (isinstance(item, str) and "/" in item and ":" not in item)
            if is_file and not str(item).startswith("hf:"):
                assert Path(item).exists(), f"{item} of the next command does not exist"


def image_folder_of(folder):
    """40 images of two classes in ImageNet's layout, in a new folder there."""
    for part, count in (("train", 16), ("val", 4)):
        for number, label in enumerate(("n01440764", "n01443537")):
            place = folder / "images" / part / label
            place.mkdir(parents=True)
            for image in range(count):
                colour = [40 + 9 * image, 90, 200 - 9 * image]
                picture = Image.new("RGB", (60 + image, 48), tuple(colour[number:] + colour[:number]))
                picture.save(place / f"{label}_{image}.JPEG")
    return folder / "images"
