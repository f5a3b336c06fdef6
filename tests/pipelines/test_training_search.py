import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import asdict, replace

import optuna
import pytest
import yaml
from optuna.trial import TrialState

import tinynas
from helpers import DETECTORS, RECIPE, Quiet
from tinynas import Budget, cost
from tinynas.experiment.config import OF_SUPERNET, RetrainConfig, SupernetConfig
from tinynas.experiment.log import last_record
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.run_folder import RunFolder
from tinynas.experiment.saved import read_supernet_config
from tinynas.experiment.saved_search import read_search
from tinynas.experiment.search_plan import SearchPlan
from tinynas.experiment.search_settings import SearchSettings
from tinynas.pipelines import training_search
from tinynas.pipelines.planning import plan_retraining
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import search
from tinynas.pipelines.search_planning import plan_search
from tinynas.study.halving import Halving
from tinynas.study.index import WORKER
from tinynas.study.storage import open_storage, quiet_optuna
from tinynas.training.checkpoint import TrainingState
from tinynas.utils.errors import EvaluationError, FileError, InputError
from tinynas.utils.overrides import Overrides
from tinynas.utils.settings import settings_of

EPOCHS = 4
TRIALS = 12
SCRATCH = replace(RECIPE, epochs=EPOCHS)


@pytest.fixture
def plan(small_config, tmp_path) -> SearchPlan:
    """The plan of a search without a supernet."""
    settings = SearchSettings(evaluate="train", trials=TRIALS, seeds=1)
    config = replace(small_config, recipe=SCRATCH)
    return SearchPlan(run=tmp_path / "run", config=config, budget=Budget(macs=60_000), settings=settings)


@pytest.fixture(scope="module")
def trained_once(data, small_config, tmp_path_factory):
    """A run that was searched without a supernet, to be copied."""
    from conftest import load_always

    folder = tmp_path_factory.mktemp("trained") / "run"
    settings = SearchSettings(evaluate="train", trials=TRIALS, seeds=1)
    config = replace(small_config, recipe=SCRATCH)
    with pytest.MonkeyPatch.context() as patch:
        load_always(data, patch)
        search(SearchPlan(run=folder, config=config, budget=Budget(macs=60_000), settings=settings), report=Quiet())
    return folder


@pytest.fixture
def trained(trained_once, watched, tmp_path):
    """The run of the fixture `plan`, searched."""
    return RunFolder(shutil.copytree(trained_once, tmp_path / "run"))


@pytest.fixture
def steps(monkeypatch):
    """Counts training steps, and raises KeyboardInterrupt after so many."""

    class Steps:
        count, most = 0, None

    add = TrainingState.add

    def counted(state, result):
        if Steps.count == Steps.most:
            raise KeyboardInterrupt
        Steps.count += 1
        add(state, result)

    monkeypatch.setattr(TrainingState, "add", counted)
    return Steps


def trials_of(run):
    with quiet_optuna():
        storage = open_storage(str(run / "study.journal"))
        (name,) = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage).trials


def reports_of(run):
    """The accuracies after every epoch of the networks that were trained or stopped, and where they were compared."""
    ended = [trial for trial in trials_of(run) if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    return [(trial.params, trial.intermediate_values, Halving.compared(trial)) for trial in ended]


def results_of(run):
    """What a search has written, but the picture."""
    return [(run / name).read_bytes() for name in ("front.json", "evaluations.json", "best.yaml")]


def accuracy_of_retraining(folder, arch, recipe):
    """The accuracy on search-val after the last epoch of `tinynas retrain`."""
    retrain(RetrainPlan(folder=folder, arch=arch, config=RetrainConfig(recipe=recipe)), report=Quiet())
    return last_record(folder / "log.jsonl")["val_accuracy"]


def test_front_is_of_networks_trained_to_their_end_as_retrain_trains_them(trained, watched, tmp_path):
    assert watched.test.looked == [], "the search looked at test images"
    result, evaluated = trained.read_front(), trained.read_evaluations().networks
    assert (result.trained_epochs, result.evaluations) == (EPOCHS, len(evaluated))
    states = {}
    for trial in trials_of(trained.path):
        states.setdefault(trial.state, []).append(trial)
    complete, stopped = states.pop(TrialState.COMPLETE), states.pop(TrialState.PRUNED)
    assert not states
    assert len(complete) == len(evaluated)
    assert len(complete) + len(stopped) == TRIALS
    assert len(stopped) >= TRIALS // 3, "nothing was saved"
    assert {trial.last_step for trial in complete} == {EPOCHS}
    assert {trial.last_step for trial in stopped} <= set(Halving(EPOCHS).rungs)

    accuracies = {}
    for number, entry in enumerate(evaluated):
        accuracies[entry.arch] = accuracy_of_retraining(tmp_path / "retrain" / str(number), entry.arch, SCRATCH)
        assert accuracies[entry.arch] == entry.accuracy
    assert result.best_entry.accuracy == max(accuracies.values())
    assert {entry.arch for entry in result.front} <= set(accuracies)


def test_run_has_no_supernet_and_no_settings_of_one(trained):
    names = {path.name for path in trained.path.iterdir() if not path.name.startswith(".")}
    written = {"config.yaml", "data.json", "space.yaml", "search.yaml", "study.journal", "best.yaml"}
    assert names == written | {"evaluations.json", "front.json", "front.png", "report.html"}
    config = yaml.safe_load(trained.config.read_text())
    assert set(config) == set(asdict(SupernetConfig())) - set(OF_SUPERNET)
    of_group = {declared.path for declared in settings_of(SupernetConfig) if declared.info.group == "Supernet"}
    assert set(OF_SUPERNET) == of_group - {"space"}
    assert yaml.safe_load(trained.search.read_text())["evaluate"] == "train"


def test_messages_say_how_many_were_stopped(watched, plan, monkeypatch):
    class Watching(Quiet):
        def advance(self, task, done, total, text):
            texts.append((task, text))

    report, texts, loaded = Watching(), [], []
    monkeypatch.setattr("tinynas.pipelines.search.load_data", lambda name, **settings: loaded.append(1) or watched)
    result = search(plan, report=report)
    assert len(loaded) == 1
    stopped = TRIALS - result.evaluations
    (note,) = [note for note in report.notes if note.startswith("search:")]
    assert note == f"search: {stopped} of {TRIALS} networks were stopped early, behind others after 1 or 3 of 4 epochs"
    assert {task for task, _ in texts} == {"search"}
    assert f"{stopped} stopped early" in texts[-1][1]


@pytest.mark.parametrize("after", [5, 20, 100])
def test_search_that_is_interrupted_in_a_training_continues_it(trained, plan, steps, tmp_path, after):
    search(replace(plan, run=tmp_path / "whole"), report=Quiet())
    whole = steps.count
    assert whole > 100
    assert results_of(tmp_path / "whole") == results_of(trained.path), "the same in every run"
    cut = replace(plan, run=tmp_path / "cut")
    steps.count, steps.most = 0, after
    with pytest.raises(KeyboardInterrupt):
        search(cut, report=Quiet())
    (candidate,) = RunFolder(cut.run).candidates.iterdir()
    if after < 24:  # in the first network, whose 4 epochs of 6 steps each are trained to their end
        assert (candidate / "seed-0" / "checkpoint.pt").exists() == (after > 6)
    steps.count, steps.most = 0, None
    search(cut, report=Quiet())
    repeated = after + steps.count - whole
    assert 0 <= repeated <= 6, "more than an epoch was trained again"
    assert results_of(cut.run) == results_of(tmp_path / "whole")
    assert reports_of(cut.run) == reports_of(tmp_path / "whole")
    assert not RunFolder(cut.run).candidates.exists()


def with_seeds(plan, count, name):
    return replace(plan, run=plan.run.parent / name, settings=replace(plan.settings, seeds=count))


def test_network_that_would_be_the_best_is_trained_with_further_seeds(trained, plan, tmp_path):
    search(with_seeds(plan, 3, "three"), report=Quiet())
    before = {entry.arch: entry.accuracy for entry in trained.read_evaluations().networks}
    best, numbers = -1.0, []
    for trial in trials_of(tmp_path / "three"):
        if trial.state != TrialState.COMPLETE:
            continue
        arch = RunFolder(tmp_path / "three").read_evaluations().networks[len(numbers)].arch
        accuracies = []
        for seed in range(3):
            folder = tmp_path / "retrain" / f"{trial.number}-{seed}"
            accuracies.append(accuracy_of_retraining(folder, arch, replace(SCRATCH, seed=seed)))
            if sum(accuracies) / len(accuracies) <= best:
                break
        assert before.get(arch, accuracies[0]) == accuracies[0]
        assert trial.values == [pytest.approx(sum(accuracies) / len(accuracies))]
        best = max(best, *trial.values)
        numbers.append(len(accuracies))
    assert numbers[0] == 3
    assert min(numbers) == 1
    assert RunFolder(tmp_path / "three").read_front().best_entry.accuracy == pytest.approx(best)


def test_search_that_is_interrupted_with_a_further_seed_continues_it(watched, plan, steps, tmp_path):
    search(with_seeds(plan, 2, "whole"), report=Quiet())
    whole, cut = steps.count, with_seeds(plan, 2, "cut")
    steps.count, steps.most = 0, 40  # in the second training of the first network
    with pytest.raises(KeyboardInterrupt):
        search(cut, report=Quiet())
    (candidate,) = RunFolder(cut.run).candidates.iterdir()
    assert {folder.name for folder in candidate.iterdir() if folder.is_dir()} == {"seed-0", "seed-1"}
    steps.count, steps.most = 0, None
    search(cut, report=Quiet())
    assert 0 <= 40 + steps.count - whole <= 6, "more than an epoch was trained again"
    assert results_of(cut.run) == results_of(tmp_path / "whole")
    assert not RunFolder(cut.run).candidates.exists()


@pytest.mark.parametrize("settings", [{}, {"evaluate": "train", "pareto": ("macs",)}])
def test_seeds_are_for_the_best_of_trained_networks(settings):
    with pytest.raises(InputError, match="--seeds 2 is for --evaluate train without --pareto; remove it"):
        SearchSettings(seeds=2, **settings)


@pytest.mark.slow
def test_search_that_is_killed_in_a_training_ends_as_if_it_had_not_been(tmp_path):
    words = ["search", "--space", "micro", "--data", "digits", "--flops", "200K", "--evaluate", "train"]
    words += ["--epochs", "3", "--batch-size", "16", "--trials", "5"]
    command = [sys.executable, "-m", "tinynas.cli"]
    subprocess.run([*command, *words, "--run", "whole"], cwd=tmp_path, check=True, capture_output=True)
    started = subprocess.Popen([*command, *words, "--run", "cut"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("cut/candidates/*/*/log.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    assert not (tmp_path / "cut" / "front.json").exists()
    subprocess.run([*command, "search", "--run", "cut", "--resume"], cwd=tmp_path, check=True, capture_output=True)
    assert results_of(tmp_path / "cut") == results_of(tmp_path / "whole")


def test_workers_train_together(trained, plan, tmp_path):
    known = {entry.arch: entry.accuracy for entry in trained.read_evaluations().networks}
    settings = replace(plan.settings, workers=2, sampler="random", trials=20)
    result = search(replace(plan, run=tmp_path / "two", settings=settings), report=Quiet())
    trials = trials_of(tmp_path / "two")
    assert len({trial.user_attrs[WORKER]["pid"] for trial in trials if trial.state.is_finished()}) == 2
    states = [trial.state for trial in trials]
    assert states.count(TrialState.COMPLETE) == result.evaluations
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 20
    again = [e for e in RunFolder(tmp_path / "two").read_evaluations().networks if e.arch in known]
    assert again
    assert all(entry.accuracy == known[entry.arch] for entry in again)
    assert not RunFolder(tmp_path / "two").candidates.exists()


def test_search_with_other_limits_trains_no_network_to_its_end_again(trained, plan, monkeypatch):
    begun, build = [], training_search.build_retraining

    def watched_build(retraining, *args, **kwargs):
        begun.append(retraining.arch)
        return build(retraining, *args, **kwargs)

    monkeypatch.setattr(training_search, "build_retraining", watched_build)
    before = {entry.arch: entry.accuracy for entry in trained.read_evaluations().networks}
    result = search(replace(plan, budget=Budget(macs=50_000)), report=Quiet())
    assert all(entry.cost.macs <= 50_000 for entry in result.front)
    after = {entry.arch: entry.accuracy for entry in trained.read_evaluations().networks}
    both = set(before) & set(after)
    assert both
    assert not both & set(begun)
    assert all(before[arch] == after[arch] for arch in both)
    assert (trained.path / "earlier" / "macs-60000" / "front.json").exists()


def test_front_of_two_objectives_is_searched_without_halving(watched, plan, steps):
    settings = replace(plan.settings, pareto=("macs",), trials=5)
    report = Quiet()
    assert search(replace(plan, settings=settings), report=report).evaluations == 5
    assert steps.count == 5 * EPOCHS * 6
    assert not [note for note in report.notes if "stopped" in note]


def test_memory_of_a_network_is_freed(watched, plan, monkeypatch):
    networks, build = [], training_search.build_retraining

    def watched_build(*args, **kwargs):
        assert sum(network() is not None for network in networks) == 0
        training = build(*args, **kwargs)
        networks.append(weakref.ref(training.supernet))
        return training

    monkeypatch.setattr(training_search, "build_retraining", watched_build)
    search(plan, report=Quiet())
    assert len(networks) == TRIALS


def test_trainings_that_diverge_end_the_search(watched, plan):
    recipe = replace(SCRATCH, lr=1e30, warmup_epochs=0.0)
    message = r"the last 3 networks could not be evaluated.*the training diverged: .*; try a --lr below 1e\+30"
    with pytest.raises(EvaluationError, match=message):
        search(replace(plan, config=replace(plan.config, recipe=recipe)), report=Quiet())
    assert not RunFolder(plan.run).candidates.exists() or not any(RunFolder(plan.run).candidates.iterdir())


def test_detectors_are_trained_too(voc, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(DETECTORS))
    recipe = replace(RECIPE, epochs=2, batch_size=6)
    config = SupernetConfig(space=str(tmp_path / "small.yaml"), data=voc, recipe=recipe)
    settings = SearchSettings(evaluate="train", trials=3)
    plan = SearchPlan(run=tmp_path / "run", config=config, budget=Budget(macs=1_000_000), settings=settings)
    result = search(plan, report=Quiet())
    assert result.metric == "mAP"
    assert 1 <= result.evaluations <= 3


def planned(run, **settings):
    return plan_search(run, overrides=Overrides.read(settings, SearchSettings, SupernetConfig))


def test_recipe_is_by_default_that_of_retrain(tmp_path):
    for task in ("classify", "detect"):
        overrides = Overrides.read({"evaluate": "train"}, SearchSettings, SupernetConfig)
        config = plan_search(tmp_path / "run", task=task, overrides=overrides).config
        assert config.recipe == RetrainConfig.for_task(task).recipe
    assert planned(tmp_path / "run").config.recipe == SupernetConfig().recipe


def test_recipe_of_a_new_run_is_fitted_where_it_is_not_named(watched, tmp_path):
    named = {"space": "micro", "data": "digits", "evaluate": "train", "epochs": 1, "trials": 2, "weight_decay": 0.0}
    overrides = Overrides.read(named, SearchSettings, SupernetConfig)
    plan = plan_search(tmp_path / "run", budget=Budget(macs=200_000), overrides=overrides)
    report = Quiet()
    search(plan, report=report)
    recipe = read_supernet_config(tmp_path / "run").recipe
    assert (recipe.augmentation, recipe.label_smoothing, recipe.weight_decay) == ("light", 0.0, 0.0)
    assert "recipe auto: augmentation light, label_smoothing 0" in report.notes
    again = plan_search(tmp_path / "run", budget=Budget(macs=200_000), overrides=overrides)
    assert (again.named, again.config.recipe) == (None, recipe), "the run's recipe stays"


def test_what_needs_a_supernet_is_refused(trained, searched_once, tmp_path):
    run = trained.path
    for name, value in {"init": "supernet", "teacher": "supernet"}.items():
        with pytest.raises(InputError, match="run has no supernet to start or learn from, its networks are trained"):
            plan_retraining(str(run), overrides=Overrides.read({name: value}, RetrainConfig))
    with pytest.raises(FileError, match=r"^.*run has no supernet, .*; search it with --evaluate train, or choose"):
        planned(run)
    assert planned(run, evaluate="train").config.recipe == SCRATCH
    assert plan_search(run, resume=True).settings.trains
    with pytest.raises(InputError, match="--race evaluates networks with the weights of a supernet; remove it, or"):
        planned(run, evaluate="train", race=True)
    for name in OF_SUPERNET:
        value = "model.safetensors" if name == "init" else getattr(SupernetConfig(), name)
        with pytest.raises(InputError, match=f"--evaluate train trains no supernet; remove --{name.replace('_', '-')}"):
            planned(tmp_path / "new", evaluate="train", **{name: value})
    with pytest.raises(FileError, match="has a supernet; remove --evaluate train, or choose another --run"):
        planned(searched_once, evaluate="train")


def test_torchrun_and_unknown_ways_are_refused(watched, plan, monkeypatch, fails):
    error = fails("search", "--run", plan.run, "--evaluate", "trian")
    assert error == "tinynas: unknown way to evaluate networks 'trian'; did you mean 'train'?\n"
    monkeypatch.setattr("tinynas.pipelines.search.world_size", lambda: 2)
    with pytest.raises(InputError, match=r"--evaluate train trains .*; search without torchrun, with --workers"):
        search(plan, report=Quiet())
    assert not plan.run.exists()


@pytest.mark.parametrize(("line", "way"), [("evaluate: null", "supernet"), ("", "supernet"), ("evaluate: f", "f")])
def test_settings_of_earlier_versions_are_read(tmp_path, line, way):
    (tmp_path / "search.yaml").write_text(f"limits:\n  macs: 60000\ntrials: 3\n{line}\n")
    assert read_search(tmp_path).settings.evaluate == way


def test_programs_search_without_a_supernet(data, tmp_path):
    samples = [
        (image[0].numpy(), int(label)) for image, label in zip(data.train.images, data.train.labels, strict=True)
    ]
    named = tinynas.Data(train=samples, test=samples[:30], classes=["a", "b", "c"], name="three")
    arguments = {"data": named, "epochs": 2, "batch_size": 16, "evaluate": "train", "run": tmp_path / "run"}
    run = tinynas.search(space="micro", flops="200K", trials=3, **arguments)
    assert run.result.trained_epochs == 2
    assert cost(run.best.arch).macs <= 200_000
    assert json.loads((tmp_path / "run" / "front.json").read_text())["trained_epochs"] == 2

    def train(network, batches):
        return 1.0

    with pytest.raises(InputError, match="evaluate is a function called train, which is a way to evaluate networks"):
        tinynas.search(space="micro", data=named, evaluate=train)
    with pytest.raises(InputError, match="`evaluate` train trains no supernet; remove `distillation`"):
        tinynas.search(space="micro", data=named, evaluate="train", distillation=0.1)
