"""The command that trains what a paper has trained, and compares the results."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tinynas.arch.cost_names import split_words
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.reproduction import (
    FIXED,
    METHODS,
    PAPERS,
    PARTS,
    Training,
    check_choices,
    data_sets_of,
    methods_of,
    trainings_of,
)
from tinynas.experiment.reproduction_report import report_reproduction
from tinynas.experiment.runs import RUNS
from tinynas.utils.overrides import Overrides
from tinynas.utils.paths import with_absolute_path

from . import options as opt
from .screen import Screen
from .settings_options import settings_options
from .tables.dry_run import show_fields
from .tables.reproduce import show_reproduction

_NETWORKS = "mobilenet-v2-tiny, mobilenet-v2-w0.35, mobilenet-v3-large-w0.35, proxyless-mobile-w0.35 or mcunet"


Paper = Annotated[str, typer.Argument(metavar="|".join(PAPERS), help="The paper: Network Augmentation.")]
Net = Annotated[str, typer.Option("--net", metavar="NAME", help=f"Its network: {_NETWORKS}.")]
Part = Annotated[
    str,
    typer.Option(
        "--part",
        metavar="|".join(PARTS),
        help="What is trained: the network on ImageNet; with a teacher; further on smaller sets; as a detector.",
    ),
]
DataSets = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="NAME[:PATH]",
        show_default=False,
        help="Images: of ImageNet imagefolder:PATH; of transfer SET or SET=DATA, such as pets or "
        "cub200=imagefolder:PATH; of detection voc:PATH or coco:PATH. May be repeated.",
    ),
]
Methods = Annotated[
    str | None,
    typer.Option(
        "--methods",
        metavar="A,B",
        show_default=False,
        help=f"Ways of training on ImageNet: {', '.join(METHODS)}. Default: plain,netaug; of --part kd "
        "teacher,netaug+teacher.",
    ),
]
Run = Annotated[
    Path | None, typer.Option("--run", show_default=False, help="Run folder. Default: runs/reproduce-netaug-NAME.")
]


@settings_options(RetrainConfig, without=("data", *FIXED), by_recipe=True)
def reproduce(
    paper: Paper,
    *,
    net: Net,
    part: Part,
    data: DataSets = None,
    methods: Methods = None,
    overrides: Overrides,
    run: Run = None,
    dry_run: opt.DryRun = False,
    loader_workers: opt.LoaderWorkers = None,
    device: opt.Device = "auto",
    as_json: opt.AsJson = False,
) -> None:
    """Train what NetAug's authors have trained, by their recipes, and compare the accuracies with theirs.

    All trainings of a network are in one run, and transfer and detection begin with its models of ImageNet. Run the
    command again to continue where it was interrupted. Settings are the authors' but for those that an option names.
    """
    from tinynas.pipelines.reproduce import reproduce as run_reproduction
    from tinynas.utils.distributed import broadcast_from_rank0, choose_device, process_group, rank

    check_choices(paper, net, part)
    data_sets = data_sets_of(part, net, [with_absolute_path(name) for name in data or ()])
    trainings = trainings_of(data_sets, methods_of(part, () if methods is None else split_words(methods)))
    folder = run or RUNS / f"reproduce-{paper}-{net}"
    screen = Screen(as_json)
    if dry_run:
        _show_dry_run(screen, folder, net, trainings, data_sets, overrides)
        return
    choose_device(device)
    with process_group():
        plans = broadcast_from_rank0(partial(_plans, folder, net, trainings, data_sets, overrides))
        with screen:
            run_reproduction(plans, report=screen)
        if rank() > 0:  # torchrun's first process shows the results
            return
    report = report_reproduction(folder, net)
    report.write(folder)
    show_reproduction(screen, folder, report)
    screen.next_report([folder])
    screen.document(report.to_dict() | {"run": str(folder)})


def _plans(
    run: Path, net: str, trainings: list[Training], data_sets: dict[str, str], overrides: Overrides
) -> list[RetrainPlan]:
    """Return the plans of the trainings."""
    from tinynas.pipelines.reproduce import plan_reproduction, resolve_reproduction

    return plan_reproduction(run, resolve_reproduction(run, net, trainings, data_sets, overrides))


def _show_dry_run(
    screen: Screen, run: Path, net: str, trainings: list[Training], data_sets: dict[str, str], overrides: Overrides
) -> None:
    """Show the settings of every training beside the authors'."""
    from tinynas.pipelines.reproduce import resolve_reproduction

    contents = {}
    for item in resolve_reproduction(run, net, trainings, data_sets, overrides):
        title = f"{item.training.name}: training on {item.config.data}, resolved"
        contents[item.training.name] = show_fields(screen, item, item.training.recipe(net), title=title)
    screen.note("nothing was trained or written")
    screen.document(contents)
