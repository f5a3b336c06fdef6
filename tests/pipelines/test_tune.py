import json

import pytest

from helpers import Interrupting, Quiet
from tinynas.arch.budget import Budget
from tinynas.experiment.config import AUTO_SETTINGS, RetrainConfig
from tinynas.experiment.run_folder import RunFolder
from tinynas.pipelines.tune import plan_tuning, tune
from tinynas.study.recipe_study import TUNED
from tinynas.utils.errors import BusyError, FileError, InputError
from tinynas.utils.overrides import Overrides

QUICK = {"epochs": 3, "batch_size": 16}


def planned(run, trials=4, *, name="recipe", budget=None, **settings):
    overrides = Overrides.read(QUICK | settings, RetrainConfig)
    return plan_tuning(run, name=name, trials=trials, budget=budget or Budget(), overrides=overrides)


def test_tuning_writes_the_best_recipe_and_never_looks_at_test_images(searched, watched, tinynas):
    plan = planned(searched)
    tried = tune(plan, report=Quiet())
    assert watched.test.looked == []
    assert len(tried) == 4
    assert tried[0].is_complete
    assert tried[0].accuracy == max(recipe.accuracy for recipe in tried if recipe.is_complete)
    files = sorted(path.name for path in plan.folder.iterdir() if not path.name.startswith("."))
    assert files == ["recipe-base.yaml", "recipe.journal", "recipe.yaml"], "trainings leave none"
    code, out, err = tinynas("retrain", searched, "--config", plan.recipe, "--json")
    assert code == 0, err
    config = (searched / "retrain" / "plain" / "config.yaml").read_text()
    assert f"lr: {tried[0].values['recipe.lr']!r}" in config
    assert json.loads(out)["epochs"] == 3


def test_first_recipe_is_the_one_that_was_given(searched):
    (first,) = tune(planned(searched, trials=1, weight_decay=1e-3), report=Quiet())
    defaults = RetrainConfig()
    assert first.values == {
        "recipe.lr": defaults.recipe.lr,
        "recipe.label_smoothing": AUTO_SETTINGS["label_smoothing"],
        "recipe.augmentation": AUTO_SETTINGS["augmentation"],
        "dropout": defaults.dropout,
    }, "weight decay has a value"


def test_interrupted_tuning_ends_with_the_same_recipes(searched):
    whole = tune(planned(searched), report=Quiet())
    plan = planned(searched, name="cut")
    for after in (3, 9):
        with pytest.raises(KeyboardInterrupt):
            tune(plan, report=Interrupting(after=after))
    assert tune(plan, report=Quiet()) == whole
    more = tune(planned(searched, 6, name="cut"), report=Quiet())
    assert len(more) == 6
    assert [recipe for recipe in more if recipe in whole] == whole


def test_tuning_with_other_settings_needs_another_name(searched):
    tune(planned(searched, 1), report=Quiet())
    with pytest.raises(FileError, match=r"momentum is 0\.9 there, 0\.8 here; choose another --name"):
        tune(planned(searched, 2, momentum=0.8), report=Quiet())
    with pytest.raises(FileError, match=r"base\.yaml: lr was tuned there, is fixed here; choose another --name"):
        tune(planned(searched, 2, lr=RetrainConfig().recipe.lr), report=Quiet())
    tune(planned(searched, 1, name="fixed", dropout=0.0), report=Quiet())
    with pytest.raises(FileError, match=r"base\.yaml: dropout was fixed there, is tuned here; choose another --name"):
        tune(planned(searched, 1, name="fixed"), report=Quiet())


def test_damaged_tuning_needs_another_name(searched):
    plan = planned(searched, 1)
    tune(plan, report=Quiet())
    lines = plan.study.read_bytes().splitlines(keepends=True)
    plan.study.write_bytes(b"".join([lines[0].replace(b"0", b"1"), *lines[1:]]))
    with pytest.raises(
        FileError, match=r"line 1 is damaged.* run the command again; or tune anew, with another --name"
    ):
        tune(plan, report=Quiet())


def test_tuning_refuses_what_it_cannot_do(searched):
    with pytest.raises(InputError, match="train_on_all leaves no search-val to tune by"):
        planned(searched, train_on_all=True)
    named = {path.rpartition(".")[2]: 0.1 for path in TUNED} | {"augmentation": "none"}
    with pytest.raises(InputError, match="every setting that is tuned has a value"):
        planned(searched, **named)


def test_limits_choose_the_network(searched):
    networks = RunFolder(searched).read_evaluations().networks
    smallest = min(networks, key=lambda entry: entry.cost.macs)
    assert planned(searched, budget=Budget(macs=smallest.cost.macs)).arch == smallest.arch


def test_one_process_tunes_at_a_time(searched):
    class Second(Quiet):
        """Starts the same tuning while it goes on."""

        def advance(self, task, done, total, text):
            if task == "tune" and done == 0:
                with pytest.raises(BusyError, match="is in use by tinynas tune"):
                    tune(plan, report=Quiet())
                refused.append(True)

    refused, plan = [], planned(searched, 1)
    tune(plan, report=Second())
    assert refused
