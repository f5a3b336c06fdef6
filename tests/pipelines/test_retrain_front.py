from contextlib import ExitStack
from dataclasses import asdict, replace

import pytest

from helpers import Quiet
from tinynas import build
from tinynas.arch.budget import Budget
from tinynas.arch.cost import Cost
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.front_choice import networks_to_retrain, spread_over_front
from tinynas.experiment.front_settings import FrontSettings
from tinynas.experiment.results import FrontEntry
from tinynas.experiment.retrain_folder import RetrainFolder
from tinynas.experiment.run_folder import RunFolder
from tinynas.models.model_file import Model, save_model
from tinynas.pipelines.folder_locks import retraining_lock
from tinynas.pipelines.program_front import retrain_front as retrain_program
from tinynas.pipelines.retrain_front import plan_front, retrain_front
from tinynas.pipelines.tune import plan_tuning
from tinynas.utils.errors import BudgetError, FileError, InputError, TrainingError
from tinynas.utils.overrides import Overrides

QUICK = {"epochs": 1, "batch_size": 16}


def planned(run, *, budget=None, name="front", settings=None, **front):
    overrides = Overrides.read(QUICK | (settings or {}), RetrainConfig)
    return plan_front(run, FrontSettings(**front), name=name, budget=budget or Budget(), overrides=overrides)


def entries_at(arch, *macs):
    entries = []
    for number, value in enumerate(macs):
        counted = Cost(macs=value, params=1, peak_sram=1, peak_sram_inplace_dw=1, flash=1)
        entries.append(FrontEntry(arch=arch, accuracy=50.0 + number, cost=counted))
    return entries


@pytest.mark.parametrize(
    ("count", "chosen"),
    [
        (1, [10_000]),
        (2, [1, 10_000]),
        (3, [1, 100, 10_000]),
        (4, [1, 30, 300, 10_000]),
        (9, [1, 2, 30, 100, 300, 10_000]),
    ],
)
def test_networks_are_spread_evenly_over_a_log_scale(space, count, chosen):
    entries = entries_at(space.min(), 1, 2, 30, 100, 300, 10_000)
    assert [entry.cost.macs for entry in spread_over_front(entries, count, cost="macs")] == chosen


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [30]), (2, [1, 30]), (3, [1, 30, 90]), (4, [1, 30, 40, 90]), (9, [1, 30, 40, 90, 95])]
)
def test_fronts_of_too_few_networks_are_filled_up_from_the_next(space, count, chosen):
    front, beaten, last = entries_at(space.min(), 1, 30), entries_at(space.min(), 40, 90), entries_at(space.min(), 95)
    entries = [*last, *(replace(entry, accuracy=entry.accuracy - 0.5) for entry in beaten), *front]
    assert [entry.cost.macs for entry in networks_to_retrain(entries, count, costs=("macs",))] == chosen


def test_every_network_is_planned_in_every_way_with_every_seed(searched):
    settings = {"teacher_weight": 0.9, "teacher": "supernet", "expand_until": 1.0, "seed": 3}
    plans = planned(searched, front=2, methods=("plain", "netaug", "teacher"), seeds=2, settings=settings)
    assert [plan.config.recipe.seed for plan in plans] == [3] * 6 + [4] * 6
    assert len({plan.folder for plan in plans}) == 12
    plain, netaug, teacher = plans[:3]
    assert len({plan.arch for plan in plans[:3]}) == 1
    assert plans[3].arch != plain.arch
    assert (plain.config.netaug, plain.config.distillation) == (None, None)
    assert (netaug.config.netaug.expand_until, netaug.config.distillation) == (1.0, None)
    assert (teacher.config.netaug, teacher.config.distillation.teacher_weight) == (None, 0.9)
    for plan in plans[1:3]:
        alike = asdict(plain.config) | {"netaug": None, "distillation": None}
        assert asdict(plan.config) | {"netaug": None, "distillation": None} == alike, "nothing else differs"
    assert plain.folder.name.startswith("front-")
    assert plain.folder.name.endswith("-plain-seed3")
    (both,) = {plan.folder.name.rpartition("-")[2] for plan in planned(searched, front=1, methods=("netaug+teacher",))}
    assert both == "teacher"


def test_limits_leave_out_networks_of_the_front(searched):
    smallest, *_, largest = RunFolder(searched).read_front().front
    plans = planned(searched, front=9, budget=Budget(macs=largest.cost.macs - 1))
    assert smallest.arch in [plan.arch for plan in plans]
    assert largest.arch not in [plan.arch for plan in plans]
    with pytest.raises(BudgetError, match=r"no network of the front of .* keeps macs <= 1; raise the limits"):
        planned(searched, front=9, budget=Budget(macs=1))


def test_front_is_retrained_once_and_continued_where_it_stopped(searched):
    plans = planned(searched, front=2, both=True)
    retrain_front(plans, report=Quiet())
    folders = [RetrainFolder(plan.folder) for plan in plans]
    weights = [folder.model.read_bytes() for folder in folders]
    times = [folder.model.stat().st_mtime_ns for folder in folders]
    folders[1].metrics.unlink()
    folders[1].model.unlink()
    report = Quiet()
    retrain_front(plans, report=report)
    assert report.notes[0] == "retrainings of 2 networks: 4, of which finished: 3"
    assert [folder.model.read_bytes() for folder in folders] == weights
    kept = [folder.model.stat().st_mtime_ns == time for folder, time in zip(folders, times, strict=True)]
    assert kept == [True, False, True, True]


def test_models_that_were_lost_are_written_again(searched):
    plans = planned(searched, front=2)
    retrain_front(plans, report=Quiet())
    first, second = (RetrainFolder(plan.folder) for plan in plans)
    weights = [folder.model.read_bytes() for folder in (first, second)]
    first.model.unlink()  # the checkpoint of its last epoch is left
    second.model.unlink()
    second.checkpoint.unlink()
    report = Quiet()
    retrain_front(plans, report=report)
    assert report.notes[0] == "retrainings of 2 networks: 2, of which finished: 0"
    assert [folder.model.read_bytes() for folder in (first, second)] == weights


def test_folders_of_other_settings_are_refused_before_anything_is_trained(searched):
    first, second = planned(searched, front=2)
    retrain_front([second], report=Quiet())
    with pytest.raises(FileError, match=r"recipe.epochs is 1 there, 2 here; choose another --name"):
        planned(searched, front=2, settings={"epochs": 2})
    assert not first.folder.exists()
    names = {plan.folder.name[:5] for plan in planned(searched, front=2, name="other", settings={"epochs": 2})}
    assert names == {"other"}


def test_retraining_that_another_process_is_at_is_waited_for_and_taken_over_if_that_has_stopped(searched):
    plans = planned(searched, front=2)
    first, second = (RetrainFolder(plan.folder) for plan in plans)
    lock = ExitStack()
    lock.enter_context(retraining_lock(first))

    class Watching(Quiet):
        """Ends the other process when it is waited for."""

        def note(self, text):
            super().note(text)
            if text.startswith("waiting for"):
                assert second.is_finished()
                assert not first.is_trained()
                lock.close()

    report = Watching()
    retrain_front(plans, report=report)
    assert [note for note in report.notes if note.startswith("waiting for tinynas retrain")]
    assert first.is_finished()


def test_retraining_that_diverges_leaves_the_others(searched, monkeypatch):
    plans = planned(searched, front=2)

    def diverge(plan, *, report):
        if plan is plans[0]:
            raise TrainingError("ten steps were skipped")
        return carry_out(plan, report=report)

    from tinynas.pipelines.retrain import retrain as carry_out

    monkeypatch.setattr("tinynas.pipelines.retrain_front.train_network", diverge)
    report = Quiet()
    with pytest.raises(TrainingError, match="1 retraining of 2 did not finish"):
        retrain_front(plans, report=report)
    assert f"{plans[0].folder.name}: ten steps were skipped" in report.notes
    assert RetrainFolder(plans[1].folder).is_finished()


@pytest.mark.parametrize(
    ("front", "message"),
    [
        ({"methods": ("plain", "netaugg"), "front": 1}, "unknown way of training 'netaugg'; did you mean 'netaug'"),
        ({"methods": ("plain", "plain"), "front": 1}, "names each way of training once, but is plain,plain"),
        ({"methods": (), "front": 1}, "methods is empty; name one way of training or more: plain, netaug, teacher"),
        ({"methods": ("netaug",), "both": True, "front": 1}, "both is plain,netaug, but methods is netaug"),
        ({"methods": ("plain",), "both": True, "front": 1}, "both is plain,netaug, but methods is plain; remove one"),
        ({"methods": ("plain",)}, "are for several networks; add --front N"),
        ({"both": True}, "are for several networks; add --front N"),
        ({"front": 0}, "front"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(front, message):
    with pytest.raises(InputError, match=message):
        FrontSettings(**front)


def test_netaug_is_a_way_of_training_not_a_setting(searched):
    with pytest.raises(InputError, match="netaug is a way of training here"):
        planned(searched, front=1, settings={"netaug": True})
    plans = planned(searched, front=1, both=True, settings={"netaug": False})  # as a file of plain training has it
    assert [plan.config.netaug is None for plan in plans] == [True, False]


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        (
            None,
            {"teacher": "supernet"},
            "teacher would .* plain; choose --methods plain,teacher, or remove it",
        ),
        (
            ("plain", "teacher"),
            {"alpha": 0.5},
            "alpha would have no effect on .* plain,teacher; choose",
        ),
        (("plain",), {"sort": True, "every": 2, "teacher": "supernet"}, "sort, every would have .*, or remove them"),
        (("netaug",), {"temperature": 2.0}, "temperature would have no effect .* choose --methods netaug,teacher"),
        (("netaug",), {"sort_from_epoch": 3}, "sort_from_epoch is 3, which has no effect without sort; add --sort"),
    ],
)
def test_settings_that_no_way_of_training_uses_are_refused(searched, methods, settings, message):
    with pytest.raises(InputError, match=message):
        planned(searched, front=1, methods=methods, settings=settings)


def test_settings_that_some_way_of_training_uses_are_taken(searched):
    settings = {"sort": True, "sort_from_epoch": 3, "teacher_weight": 0.9}
    plain, both = planned(searched, front=1, methods=("plain", "netaug+teacher"), settings=settings)
    assert (plain.config.netaug, plain.config.distillation) == (None, None)
    assert (both.config.netaug.sort_from_epoch, both.config.distillation.teacher_weight) == (3, 0.9)
    plain, netaug = planned(searched, front=1, both=True, settings={"alpha": 0.5})
    assert (plain.config.netaug, netaug.config.netaug.alpha) == (None, 0.5)


def test_teacher_must_suit_every_network_before_any_is_trained(searched, watched, tmp_path, monkeypatch):
    entry = RunFolder(searched).read_front().front[0]
    entries = [replace(entry, arch=replace(entry.arch, resolution=resolution)) for resolution in (12, 8)]
    monkeypatch.setattr("tinynas.pipelines.retrain_front.networks_to_retrain", lambda *args, **named: entries)
    path, classes = tmp_path / "teacher.safetensors", watched.classes
    teacher = build(entries[0].arch).eval()
    save_model(path, Model(net=teacher, data="digits", classes=classes, normalise=watched.normalise))
    ways = {"front": 2, "methods": ("plain", "teacher"), "settings": {"teacher": str(path)}}
    with pytest.raises(InputError, match=r"^front-.*-teacher: .* the teacher takes 12 px, the network 8 px"):
        planned(searched, **ways)
    del entries[1]
    (_, taught) = planned(searched, **ways)
    assert taught.config.distillation.teacher == str(path)
    path.unlink()
    with pytest.raises(FileError, match="is neither supernet, torchvision:NAME nor a file"):
        planned(searched, **ways)


def test_front_needs_a_searched_run(tmp_path):
    with pytest.raises(FileError, match="there is no searched run"):
        planned(tmp_path / "none", front=1)


def test_front_is_not_trained_under_torchrun(searched, monkeypatch):
    monkeypatch.setattr("tinynas.pipelines.retrain_front.world_size", lambda: 2)
    with pytest.raises(InputError, match=r"--front trains .*; retrain without torchrun, with --workers"):
        planned(searched, front=1)


def test_limits_that_the_search_did_not_record_are_refused(searched):
    for budget in (Budget(latency=0.005), Budget(own={"energy": 3.0})):
        with pytest.raises(InputError, match=r"the search did not record the (latency|energy) of its networks"):
            planned(searched, front=1, budget=budget)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x"])
def test_name_is_that_of_one_folder(searched, name):
    with pytest.raises(InputError, match="a name must be that of one folder"):
        planned(searched, front=1, name=name)
    with pytest.raises(InputError, match="a name must be that of one folder"):
        plan_tuning(searched, name=name, trials=1, budget=Budget(), overrides=Overrides())


def test_program_names_ways_as_text_and_limits_by_keyword(searched):
    smallest = RunFolder(searched).read_front().front[0]
    models = retrain_program(searched, front=9, methods="plain,netaug", flops=smallest.cost.macs, **QUICK)
    assert [(model.cost.macs, model.metrics.netaug) for model in models] == [
        (smallest.cost.macs, False),
        (smallest.cost.macs, True),
    ]
    with pytest.raises(InputError, match="run is of the type Arch; pass a run, or its folder"):
        retrain_program(smallest.arch, front=1)
    with pytest.raises(InputError, match="add `methods` plain,netaug or `both=True`"):
        retrain_program(searched, front=1, netaug=True)
