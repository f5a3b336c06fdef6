"""Does NetAug help, and what of it? Fashion-MNIST, the networks found for 0.1M, 0.3M and 1M MACs, and a large one.

    python benchmarks/netaug.py [--only WORD]     (several at a time share the work; a re-run goes on)

Every network is trained from the same recipe; rows differ from plain in what their name says, NetAug's schedule is the
paper's unless they say so. Test accuracy beside train accuracy; the difference to plain is paired by seed, with the 95%
interval of Student's t. Training time over plain's: from epochs timed in turns, in one process.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import torch
from cells import PICTURES, SCRATCH, Cells
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from ranking import DATA, plan_supernet
from rich.console import Console
from rich.table import Table
from scaling import SUPERNET, searched
from scipy.stats import t as student
from tinynas.cli.screen import Screen
from torch import Tensor

from tinynas import Arch, Budget, Supernet, augment
from tinynas.arch.blocks import Block, Stem
from tinynas.arch.heads import Head
from tinynas.arch.netaug import family_factors
from tinynas.data.base import Batch
from tinynas.data.registry import load_data
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.plots import Series, pareto_plot
from tinynas.pipelines.planning import default_config
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import train_supernet
from tinynas.pipelines.teachers import load_teacher
from tinynas.tasks.losses import TeacherLoss
from tinynas.tasks.registry import TASKS
from tinynas.training.loop import train
from tinynas.training.objectives import NetAugObjective, PlainObjective
from tinynas.training.recipe import Recipe
from tinynas.utils.overrides import Overrides
from tinynas.utils.units import format_count

EPOCHS, LARGE_EPOCHS, SEEDS = 20, 10, range(3)  # one seed at 1M, two of the large network
SIZES = {"0.1M": 100_000, "0.3M": 300_000, "1M": 1_000_000}  # MACs
NETAUG, TEACHER = {"netaug": True, "expand_until": 1.0}, {"teacher": "supernet"}  # the paper's schedule
STRONG = "strong augmentation"
MAIN = {
    "plain": {},
    "NetAug": NETAUG,
    "NetAug, in the first half only": NETAUG | {"expand_until": 0.5},
    "NetAug, every 4th step": NETAUG | {"every": 4},
    "plain, twice the epochs": {"epochs": 2 * EPOCHS},
    "plain, NetAug's time": {"epochs": "NetAug's"},
    "plain, 4 times the epochs": {"epochs": 4 * EPOCHS},
    "NetAug, in the first half only, twice the epochs": NETAUG | {"expand_until": 0.5, "epochs": 2 * EPOCHS},
    "teacher": TEACHER,
    "NetAug + teacher": NETAUG | TEACHER,
    "NetAug, from the supernet": NETAUG | {"init": "supernet"},
    "plain, from the supernet": {"init": "supernet"},
    "dropout": {"dropout": 0.2},
    STRONG: {"augmentation": "strong"},
}
SHORTCUTS = ("plain", "NetAug", "NetAug, in the first half only", "NetAug, every 4th step")
CONTROLS = ("plain, twice the epochs", "plain, NetAug's time")
LONGER = ("plain, 4 times the epochs", "NetAug, in the first half only, twice the epochs")  # at 0.1M
ABLATION = {  # NetAug, changed
    "sorting": {"sort": True},
    "widths to the end": {"width_until": 1.0},
    "every 2nd step": {"every": 2},
    "alpha 0.5": {"alpha": 0.5},
    "alpha 2": {"alpha": 2.0},
    "two augmented networks": {"num_augmented": 2},
    "kaiming-normal": {"init": "kaiming-normal"},
    "small factors": {"width": (1.0, 1.4), "expand": (1.0, 1.6)},
}
OTHER_STEPS = ("NetAug, small factors", "NetAug, sorting")  # whose time is not told


def large() -> Arch:
    """A network of over 1M parameters that does not under-fit."""
    stages, channels = [], 16
    for out, depth in ((24, 1), (64, 2), (160, 3)):
        blocks = []
        for i in range(depth):
            residual = i > 0
            blocks.append(
                Block(mid=6 * channels, out=out, kernel=3, stride=1 if i else 2, residual=residual, act="relu6")
            )
            channels = out
        stages.append(tuple(blocks))
    stem = Stem(out=16, kernel=3, stride=2, act="relu6")
    head = Head(conv=1280, hidden=0, act="relu6")
    return Arch(resolution=28, in_channels=1, classes=10, stem=stem, stages=tuple(stages), head=head)


def settings(change: dict, arch: Arch, seed: int, epochs: int) -> RetrainConfig:
    """A row's configuration."""
    recipe = {"epochs": epochs, "batch_size": 128, "seed": seed}
    overrides = Overrides.read({**change, **recipe}, RetrainConfig)
    return overrides.apply(default_config(arch, DATA, netaug=bool(overrides.get("netaug"))))


def trained(arch: Arch, change: dict, key: str, seed: int, epochs: int) -> dict:
    """metrics.json, the configuration, and seconds and accuracy on search-val after every epoch."""
    config = settings(change, arch, seed, epochs)
    folder = SCRATCH / f"supernet-{SUPERNET.replace(' ', '-')}" / "retrain" / key.replace(" ", "-").replace(",", "")
    metrics = retrain(RetrainPlan(folder=folder, arch=arch, config=config), report=Screen())
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    curve = [[round(line["seconds"], 1), round(line["val_accuracy"], 3)] for line in lines]
    return {**metrics.to_dict(), "config": asdict(config), "curve": curve}


def epoch_times(
    arch: Arch,
    data_name: str = DATA,
    batch_size: int = 128,
    rounds: int = 3,
    teacher: Callable[[Batch], Tensor] | None = None,
) -> dict[str, float]:
    """Seconds of an epoch, in turns in this process, the least of some: plain, with what NetAug augments, and more."""
    data, (width, expand) = load_data(data_name), family_factors(arch)
    loss = TASKS[arch.task].loss(arch, 0.0)
    alone = augment(arch, width=(1.0,), expand=(1.0,))
    kinds = {"plain": (alone, PlainObjective(arch, loss))}
    for name, factors in {"widths and expansions": width, "expansions": (1.0,)}.items():
        space = augment(arch, width=factors, expand=expand)
        kinds[name] = space, NetAugObjective(arch, space, loss)
    kinds[STRONG] = kinds["plain"]
    if teacher:
        kinds["teacher"] = alone, PlainObjective(arch, TeacherLoss(teacher, loss))
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, (space, objective) in kinds.items():
            augmentation = "strong" if name == STRONG else "standard"
            with TemporaryDirectory() as folder:
                seen: list[float] = []
                train(
                    Supernet(space),
                    lambda epoch, objective=objective: objective,
                    data,
                    Recipe(epochs=1, batch_size=batch_size, augmentation=augmentation),
                    resolutions=(arch.resolution,),
                    checkpoint=Path(folder) / "checkpoint.pt",
                    after_step=lambda progress, seen=seen: seen.append(progress.seconds),
                )
            seconds[name].append(seen[-1])
    return {name: min(found) for name, found in seconds.items()}


def times_of(size: str, arch: Arch) -> dict[str, float]:
    """`epoch_times`, with the supernet as a teacher where a table has one; the large network takes long: once."""
    if size == "large":
        return epoch_times(arch, rounds=1)
    run = SCRATCH / f"supernet-{SUPERNET.replace(' ', '-')}"
    return epoch_times(arch, teacher=load_teacher("supernet", run, arch, load_data(DATA)))


def time_told(cells: dict, size: str, name: str, found: dict) -> str:
    """A row's training time over plain's; empty if it is not known."""
    if name in OTHER_STEPS or f"epoch times {size}" not in cells:
        return ""
    config = next(iter(found.values()))["config"]
    of = LARGE_EPOCHS if size == "large" else EPOCHS
    return f"{training_time(config, cells[f'epoch times {size}'], of):.1f}"


def training_time(config: dict, times: dict[str, float], of: int = EPOCHS) -> float:
    """Of a training over plain's of so many epochs, by what its epochs take."""
    return sum(epoch_costs(config, times)) / of / times["plain"]


def epoch_costs(config: dict, times: dict[str, float]) -> Iterator[float]:
    """What each epoch of a training takes, in seconds."""
    epochs, around, base = config["recipe"]["epochs"], config["netaug"], times["plain"]
    if config["recipe"]["augmentation"] == "strong":
        base = times[STRONG]
    if config["distillation"]:
        base += times["teacher"] - times["plain"]
    for epoch in range(epochs):
        widths, expansions = (around and epoch / epochs < around[until] for until in ("width_until", "expand_until"))
        name = "widths and expansions" if widths else "expansions" if expansions else "plain"
        more = (times[name] - times["plain"]) * around["num_augmented"] / around["every"] if around else 0.0
        yield base + more


def jobs() -> list[tuple[str, str, dict, int]]:
    """Size, name, change, seed, in the order they are made in: what decides first."""
    main = [(size, name, change) for name, change in MAIN.items() for size in ("0.1M", "0.3M")]
    shortcuts, controls = ([row for row in main if row[1] in names] for names in (SHORTCUTS, CONTROLS))
    rest = [row for row in main if row[1] not in (*SHORTCUTS, *CONTROLS, *LONGER)]
    longer = [("0.1M", name, MAIN[name]) for name in LONGER]
    larger = [("large", name, MAIN[name]) for name in ("plain", "NetAug")]
    front = [("1M", name, MAIN[name]) for name in ("plain", "NetAug", "NetAug + teacher")]
    ablation = [("0.1M", f"NetAug, {name}", NETAUG | change) for name, change in ABLATION.items()]
    order = [(shortcuts, SEEDS), (controls, SEEDS), (rest, SEEDS[:2]), (front + larger, SEEDS[:1])]
    order += [(rest, SEEDS[2:]), (longer, SEEDS), (larger, SEEDS[1:2]), (ablation, SEEDS)]
    return [(*row, seed) for rows, seeds in order for seed in seeds for row in rows]


def fill(cells: Cells, wanted: str) -> None:
    """Make what is missing of what has the wanted word in its name."""
    train_supernet(plan_supernet(SUPERNET, budget=Budget()), report=Screen())
    for size, budget in SIZES.items():
        cells.fill(f"arch {size}", lambda budget=budget: searched(budget).to_dict())
    archs = {size: Arch.from_dict(found) for size in SIZES if (found := cells.read().get(f"arch {size}"))}
    archs["large"] = large()
    for size, arch in archs.items():
        cells.fill(f"epoch times {size}", lambda size=size, arch=arch: times_of(size, arch))
    for size, name, change, seed in jobs():
        key = f"{size} {name} seed {seed}"
        if wanted in key and size in archs:
            epochs = change.get("epochs", LARGE_EPOCHS if size == "large" else EPOCHS)
            if epochs == "NetAug's":
                like = asdict(settings(NETAUG, archs[size], seed, EPOCHS))
                epochs = round(EPOCHS * training_time(like, cells.read()[f"epoch times {size}"]))
            rest = {name: value for name, value in change.items() if name != "epochs"}
            cells.fill(key, lambda a=archs[size], c=rest, k=key, s=seed, e=epochs: trained(a, c, k, s, e))


def show(cells: dict) -> None:
    """A table for each network, and the learning curves."""
    console = Console(width=150)
    console.print(f"{__doc__}\n{EPOCHS} epochs, batches of 128, large: {LARGE_EPOCHS} epochs\n")
    for size in (*SIZES, "large"):
        names = [*MAIN, *(f"NetAug, {name}" for name in (ABLATION if size == "0.1M" else {}))]
        rows = {name: {s: cells[key] for s in SEEDS if (key := f"{size} {name} seed {s}") in cells} for name in names}
        rows = {name: found for name, found in rows.items() if found}
        if "plain" not in rows:
            continue
        first = next(iter(rows["plain"].values()))
        title = f"{size}: {format_count(first['macs'])} MACs, {format_count(first['params'])} parameters"
        table = Table(title=title, title_justify="left")
        for column in ("", "seeds", "test %", "train %", "difference to plain", "training time"):
            table.add_column(column)
        for name, found in rows.items():
            row = *described(found, rows["plain"]), time_told(cells, size, name, found)
            table.add_row(name, str(len(found)), *row)
        console.print(table)
        for name in ("NetAug", "NetAug, in the first half only", "NetAug + teacher", "NetAug, from the supernet"):
            if name in rows and size != "large":
                reached = [epochs_to(rows["plain"][s], rows[name][s]) for s in rows[name] if s in rows["plain"]]
                text = ", ".join(str(epoch or f"not in {EPOCHS}") for epoch in reached)
                console.print(f"  epochs of {name} to plain's last accuracy on search-val, by seed: {text}")
        curves(size, rows, cells.get(f"epoch times {size}"))
    budgets(cells)


def epochs_to(base: dict, cell: dict) -> int | None:
    """After how many epochs a training is as good on search-val as plain training at its end, if ever."""
    wanted = base["curve"][-1][1]
    return next((epoch for epoch, (_, accuracy) in enumerate(cell["curve"], 1) if accuracy >= wanted), None)


def described(found: dict, base: dict) -> list[str]:
    """A row's figures: means and deviations over its seeds."""
    test, train = ([cell[key] for cell in found.values()] for key in ("accuracy", "train_accuracy"))
    paired = [found[seed]["accuracy"] - base[seed]["accuracy"] for seed in found if seed in base]
    interval = ""
    if len(paired) > 1 and found is not base:
        half = student.ppf(0.975, len(paired) - 1) * stdev(paired) / len(paired) ** 0.5
        interval = f" ({mean(paired) - half:+.2f} to {mean(paired) + half:+.2f})"
    return [with_deviation(test), with_deviation(train), f"{mean(paired):+.2f}{interval}"]


def budgets(cells: dict) -> None:
    """The networks found for every budget, retrained in three ways: means over the seeds."""
    series = []
    for name, marker in (("plain", "s"), ("NetAug", "*"), ("NetAug + teacher", "^")):
        found = [[cells[key] for s in SEEDS if (key := f"{size} {name} seed {s}") in cells] for size in SIZES]
        points = [(of_size[0]["macs"], mean(cell["accuracy"] for cell in of_size)) for of_size in found if of_size]
        if points:
            series.append(Series(label=name, points=points, marker=marker))
    drawn = pareto_plot(series, title="Searched networks, retrained: test accuracy on Fashion-MNIST, mean over seeds")
    (PICTURES / "netaug.png").write_bytes(drawn)


def with_deviation(values: list[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def curves(size: str, rows: dict, times: dict[str, float] | None) -> None:
    """Accuracy on search-val over epochs, and over what these take, of the means over the seeds that all have."""
    wanted = ("plain", "plain, NetAug's time", "NetAug", "NetAug + teacher", "NetAug, from the supernet")
    shown = [name for name in wanted if name in rows]
    seeds = set.intersection(*(set(rows[name]) for name in shown))
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    kinds = ("epochs", "seconds of training") if times else ("epochs",)
    for axes, over in zip(figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0], kinds, strict=True):
        for name in shown:
            accuracies = torch.tensor([rows[name][seed]["curve"] for seed in seeds])[:, :, 1].mean(0)
            places = torch.arange(len(accuracies)) + 1
            if times and over != "epochs":
                costs = list(epoch_costs(next(iter(rows[name].values()))["config"], times))
                places = torch.tensor(costs).cumsum(0)
            axes.plot(places, accuracies, label=name)
        axes.set_xlabel(over)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.set_ylim(mean(cell["curve"][-1][1] for cell in rows["plain"].values()) - 6, None)
    figure.axes[0].set_ylabel("accuracy on search-val (%)")
    figure.axes[0].legend(fontsize=8)
    title = f"{size} MACs" if size in SIZES else "large"
    figure.suptitle(f"{title}, mean of {len(seeds)} seeds" if len(seeds) > 1 else f"{title}, one seed", fontsize=11)
    figure.savefig(PICTURES / f"netaug-{size}.png")


def main() -> None:
    """Fill what is missing, and show."""
    cells = Cells("netaug")
    fill(cells, sys.argv[2] if sys.argv[1:2] == ["--only"] else "")
    show(cells.read())


if __name__ == "__main__":
    main()
