from math import log

import pytest

from tinynas.study.recipe_study import TUNED, RecipeStudy
from tinynas.utils.errors import FileError, TrainingError

EPOCHS = 9
DEFAULTS = {
    "recipe.lr": 0.4,
    "recipe.weight_decay": 4e-5,
    "recipe.label_smoothing": 0.1,
    "recipe.augmentation": "standard",
    "dropout": 0.0,
}


class Trainings:
    """Trainings whose accuracy is best at a learning rate of 0.1 without augmentation; counts their epochs."""

    def __init__(self):
        self.values, self.epochs = [], 0

    def __call__(self, values, after_epoch):
        self.values.append(values)
        for epoch in range(1, EPOCHS + 1):
            self.epochs += 1
            too_strong = 3 * (values["recipe.augmentation"] != "none")
            accuracy = 90 + epoch - 5 * abs(log(values["recipe.lr"] / 0.1)) - too_strong
            after_epoch(epoch, accuracy)
        return accuracy


@pytest.fixture
def open_study(tmp_path):
    def open_it(seed=0):
        return RecipeStudy(str(tmp_path / "study.journal"), TUNED, epochs=EPOCHS, seed=seed)

    return open_it


def test_recipes_get_better_and_those_that_fall_behind_are_dropped(open_study):
    study, train = open_study(), Trainings()
    study.try_first(DEFAULTS)
    for _ in range(24):
        study.try_one(train)
    tried = study.tried()
    assert tried[0].values == DEFAULTS
    complete = [recipe for recipe in tried if recipe.is_complete]
    assert 1 < len(complete) < 24
    assert {recipe.epochs for recipe in complete} == {EPOCHS}
    assert {recipe.epochs for recipe in tried} == {1, 3, EPOCHS}, "dropped after a ninth and a third of the epochs"
    best = max(complete, key=lambda recipe: recipe.accuracy)
    assert best.accuracy > tried[0].accuracy
    assert best.values["recipe.augmentation"] == "none"
    assert train.epochs == sum(recipe.epochs for recipe in tried)


def test_recipes_cost_less_than_half_of_their_trainings(tmp_path):
    train = Trainings()
    for seed in range(4):
        study = RecipeStudy(str(tmp_path / f"{seed}.journal"), TUNED, epochs=EPOCHS, seed=seed)
        study.try_first(DEFAULTS)
        for _ in range(24):
            study.try_one(train)
    assert train.epochs < 4 * 24 * EPOCHS / 2


def test_study_that_is_opened_again_proposes_what_it_would_have(open_study, tmp_path):
    whole, train = open_study(), Trainings()
    whole.try_first(DEFAULTS)
    for _ in range(8):
        whole.try_one(train)
    (tmp_path / "study.journal").unlink()
    again = Trainings()
    for _ in range(8):
        study = open_study()
        study.try_first(DEFAULTS)
        study.try_one(again)
    assert again.values == train.values
    (tmp_path / "study.journal").unlink()
    other, study = Trainings(), open_study(seed=1)
    for _ in range(8):
        study.try_one(other)
    assert other.values != train.values


def test_recipe_of_a_killed_process_is_tried_again(open_study):
    def killed(values, after_epoch):
        started.append(values)
        raise KeyboardInterrupt

    started, train = [], Trainings()
    study = open_study()
    study.try_one(train)
    with pytest.raises(KeyboardInterrupt):
        study.try_one(killed)
    study = open_study()
    assert len(study.tried()) == 1
    study.try_one(train)
    assert train.values[1] == started[0]


def test_training_that_diverges_is_tried_once(open_study):
    def diverge(values, after_epoch):
        raise TrainingError("ten steps were skipped")

    study = open_study()
    study.try_one(diverge)
    (tried,) = study.tried()
    assert (tried.accuracy, tried.is_complete) == (None, False)


def test_damaged_study_is_an_error(open_study, tmp_path):
    (tmp_path / "study.journal").write_text("{}\n")
    with pytest.raises(FileError, match="cannot use the study in"):
        open_study()
