"""The commands that train. What needs torch is imported by the command that needs it."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from tinynas.utils.errors import InputError, unknown
from tinynas.utils.units import parse_bytes, parse_count, parse_seconds

from . import options as opt
from .screen import Screen
from .tables import show_comparison, show_front, show_metrics


def search(
    flops: opt.Flops = None,
    params: opt.Params = None,
    sram: opt.Sram = None,
    sram_model: opt.SramModel = None,
    flash: opt.Flash = None,
    latency: opt.Latency = None,
    pareto: opt.Pareto = None,
    trials: opt.Trials = None,
    sampler: opt.Sampler = None,
    workers: opt.Workers = None,
    storage: opt.Storage = None,
    task: opt.TaskName = None,
    space: opt.SpaceName = None,
    num_random_subnets: opt.Randoms = None,
    size_balanced_sampling: opt.Spread = None,
    distillation: opt.Distillation = None,
    largest_warmup_epochs: opt.LargestEpochs = None,
    progressive_shrinking: opt.Shrinking = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs of the supernet. Default: the run's; to detect 8, else 6.", rich_help_panel="Training"
        ),
    ] = None,
    batch_size: opt.BatchSize = None,
    lr: opt.LearningRate = None,
    max_grad_norm: opt.Clip = None,
    augmentation: opt.Augmentation = None,
    precision: opt.Precision = None,
    tensorboard: opt.TensorBoard = False,
    seed: opt.Seed = None,
    data: opt.DataName = None,
    run: opt.RunFolder = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a killed search: --run's, or the newest.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Train a supernet and search it for the most accurate networks within hard limits.

    A run's supernet is trained once: search it again with other limits by naming the run.
    """
    from tinynas.pipelines.planning import plan_search
    from tinynas.pipelines.search import search as run_search
    from tinynas.utils.distributed import broadcast_from_rank0, init_distributed, rank

    limits = _limits(flops, params, sram, sram_model, flash) | _given(
        latency=None if latency is None else parse_seconds(latency)
    )
    given = _given(
        space=space, data=data, epochs=epochs, seed=seed, batch_size=batch_size, lr=lr, max_grad_norm=max_grad_norm
    )
    given |= _given(augmentation=augmentation, precision=precision)
    given |= _given(
        num_random_subnets=num_random_subnets, size_balanced_sampling=size_balanced_sampling, distillation=distillation
    )
    given |= _given(largest_warmup_epochs=largest_warmup_epochs, progressive_shrinking=progressive_shrinking)
    how = _given(trials=trials, sampler=sampler, pareto=pareto, storage=storage, workers=workers)
    init_distributed()
    plan = broadcast_from_rank0(lambda: plan_search(run, resume=resume, task=task, limits=limits, how=how, given=given))
    plan = replace(plan, tensorboard=tensorboard)
    with Screen(as_json) as screen:
        _say_data(screen, plan.config.data, data)
        front = run_search(plan, report=screen)
    if rank() > 0:
        return
    show_front(screen, plan.run, front)
    screen.document(front | {"run": str(plan.run)})


def retrain(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|ARCH.yaml|NETWORK]", help="A run's best network, or any. Default: the newest run's."
        ),
    ] = None,
    netaug: opt.NetAugFlag = False,
    width: opt.Widths = None,
    expand: opt.Expansions = None,
    num_augmented: opt.Networks = None,
    alpha: opt.Alpha = None,
    every: opt.Every = None,
    width_until: opt.WidthUntil = None,
    expand_until: opt.ExpandUntil = None,
    sort: opt.Sort = None,
    teacher: opt.TeacherName = None,
    teacher_weight: opt.TeacherWeight = None,
    temperature: opt.Temperature = None,
    teach_augmented: opt.TeachAugmented = None,
    task: opt.TaskName = None,
    source: opt.Source = None,
    init: opt.Init = None,
    freeze_epochs: opt.Freeze = None,
    head_lr: opt.HeadLearningRate = None,
    flops: opt.Flops = None,
    params: opt.Params = None,
    sram: opt.Sram = None,
    sram_model: opt.SramModel = None,
    flash: opt.Flash = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs. Default: to detect 16, else 20.", rich_help_panel="Training")
    ] = None,
    batch_size: opt.BatchSize = None,
    lr: opt.LearningRate = None,
    max_grad_norm: opt.Clip = None,
    augmentation: opt.Augmentation = None,
    dropout: opt.Dropout = None,
    precision: opt.Precision = None,
    tensorboard: opt.TensorBoard = False,
    seed: opt.Seed = None,
    data: opt.DataName = None,
    name: Annotated[str | None, typer.Option(help="Name of the retraining. Default: plain or netaug.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a killed retraining, --name's or the newest.")
    ] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Train one network and write the model that is deployed.

    Limits choose a network of the run's front; without them it is the run's best.
    """
    from tinynas.pipelines.planning import plan_retraining
    from tinynas.pipelines.retrain import retrain as run_retrain
    from tinynas.utils.distributed import broadcast_from_rank0, init_distributed, rank

    limits = _limits(flops, params, sram, sram_model, flash)
    given = _given(data=data, epochs=epochs, seed=seed, batch_size=batch_size, lr=lr, max_grad_norm=max_grad_norm)
    given |= _given(augmentation=augmentation, dropout=dropout, precision=precision)
    given |= _given(init=init, freeze_epochs=freeze_epochs, head_lr=head_lr)
    given |= _given(width=_factors("width", width), expand=_factors("expand", expand), sort=sort)
    given |= _given(
        num_augmented=num_augmented, alpha=alpha, every=every, width_until=width_until, expand_until=expand_until
    )
    given |= _given(teacher=teacher, teacher_weight=teacher_weight, temperature=temperature)
    given |= _given(teach_augmented=teach_augmented)
    init_distributed()
    plan = broadcast_from_rank0(
        lambda: plan_retraining(
            target, name=name, resume=resume, netaug=netaug, task=task, source=source, limits=limits, given=given
        )
    )
    plan = replace(plan, tensorboard=tensorboard)
    with Screen(as_json) as screen:
        _say_data(screen, plan.config.data, data)
        metrics = run_retrain(plan, report=screen)
    if rank() > 0:
        return
    show_metrics(screen, plan.folder, metrics)
    screen.document(metrics | {"model": str(plan.folder / "model.safetensors")})


def quickstart(
    run: opt.RunFolder = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the supernet and of each retraining.")] = 20,
    trials: Annotated[int, typer.Option(min=1, help="Networks to evaluate.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    as_json: opt.AsJson = False,
) -> None:
    """The main job on real images in a few minutes: search, retrain plain and with NetAug, compare."""
    from tinynas.pipelines.planning import plan_search
    from tinynas.pipelines.quickstart import quickstart as run_quickstart

    given: dict[str, Any] = {"epochs": epochs, "seed": seed}
    limits = {"macs": 150_000, "peak_sram": 8 * 1024}
    plan = plan_search(run, resume=False, limits=limits, how={"trials": trials}, given={"space": "micro", **given})
    with Screen(as_json) as screen:
        _say_data(screen, plan.config.data, None)
        comparison = run_quickstart(plan, given, report=screen)
    picture = plan.run / "compare.png"
    show_comparison(screen, comparison, picture)
    screen.document(comparison | {"picture": str(picture)})


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that the user named."""
    return {name: value for name, value in settings.items() if value is not None}


def _limits(
    flops: str | None, params: str | None, sram: str | None, sram_model: str | None, flash: str | None
) -> dict[str, Any]:
    models = {"generic": "peak_sram", "inplace_dw": "peak_sram_inplace_dw"}
    if sram_model and sram_model not in models:
        raise unknown("SRAM model", sram_model, models)
    if sram_model and sram is None:
        raise InputError("--sram-model says how --sram is counted; give that too")
    low, range_given, high = (flops or "").rpartition(":")
    return _given(
        macs=None if flops is None else parse_count(high),
        params=None if params is None else parse_count(params),
        flash=None if flash is None else parse_bytes(flash),
        min_macs=parse_count(low) if range_given else None,
        **{models[sram_model or "generic"]: None if sram is None else parse_bytes(sram)},
    )


def _factors(name: str, text: str | None) -> tuple[float, ...] | None:
    """The numbers of a text like 1,1.8,2.6."""
    try:
        return None if text is None else tuple(float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"--{name} takes factors like 1,1.8,2.6, but got {text!r}") from None


def _say_data(screen: Screen, name: str, asked: str | None) -> None:
    if name == "digits" and not asked:
        screen.note("data: digits, the 1,797 real images that come with scikit-learn (--data names another set)")
