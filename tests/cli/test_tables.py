"""Tables of accuracies: uneven classes, classes without images, results at chance."""

from dataclasses import replace
from pathlib import Path

import pytest
from tinynas.cli.screen import Screen
from tinynas.cli.tables.models import show_evaluation
from tinynas.cli.tables.search import show_front, show_metrics

from tinynas.arch.budget import Budget
from tinynas.arch.cost import Cost, cost
from tinynas.experiment.evaluation_report import Evaluation, EvaluationReport
from tinynas.experiment.results import FrontEntry, RetrainMetrics, SearchResult
from tinynas.tasks.chance import chance_level
from tinynas.tasks.detection_figures import PERCENT_FIGURES, DetectionFigures

COST = Cost(macs=5, params=4, peak_sram=3, peak_sram_inplace_dw=2, flash=1)
EVEN = chance_level([50, 50, 50], ("cat", "dog", "fox"))
UNEVEN = chance_level([80, 20, 0], ("cat", "dog", "fox"))
AT_CHANCE = (
    "warning: accuracy 80.0% on test is at chance: always predicting 'cat', the largest class, gives 80.0% "
    "(standard error 4.0 on 100 images); "
)


def evaluation(accuracy, chance, fox=None):
    """The evaluation of a classifier with the classes cat, dog and fox."""
    by_class = {"cat": 100.0, "dog": 25.0, "fox": fox}
    return Evaluation(accuracy=accuracy, balanced_accuracy=62.5, by_class=by_class, chance=chance, macs=5.0, cost=COST)


def retrained(accuracy, chance):
    """The results of a retraining with the classes cat, dog and fox."""
    return RetrainMetrics(
        accuracy=accuracy,
        balanced_accuracy=50.0,
        by_class={"cat": 100.0, "dog": 0.0, "fox": None},
        chance=chance,
        train_accuracy=90.0,
        cost=COST,
        seconds=1.0,
        epochs=1,
        netaug=False,
        teacher=None,
        seed=0,
        data="pets",
    )


def shown(capsys, evaluation, **settings):
    """Return the lines of the table of an evaluation."""
    report = EvaluationReport(model="m", data="pets", evaluation=evaluation, **settings)
    show_evaluation(Screen(), report)
    return capsys.readouterr().out.splitlines()


def test_show_evaluation_of_uneven_classes(capsys):
    lines = shown(capsys, evaluation(89.0, UNEVEN), resolutions={24: evaluation(70.0, UNEVEN)})
    assert [" ".join(line.split()) for line in lines[:9]] == [
        "m on the test split of pets",
        "accuracy %",
        "all classes 89.00",
        "balanced, the mean over classes 62.50",
        "cat 100.00",
        "dog 25.00",
        "fox -",
        "At other image sizes",
        "resolution accuracy % balanced accuracy % MACs (FLOPs) params peak SRAM flash",
    ]
    assert "chance" not in "".join(lines)


def test_show_evaluation_of_even_classes_has_no_balanced_accuracy(capsys):
    assert "balanced" not in "".join(shown(capsys, evaluation(89.0, EVEN, fox=30.0)))


def test_show_evaluation_warns_of_chance(capsys):
    advice = "check that images and labels are like those that the model was trained on"
    assert AT_CHANCE + advice in shown(capsys, evaluation(80.0, UNEVEN))
    assert not any("warning" in line for line in shown(capsys, evaluation(88.1, UNEVEN)))


def test_show_evaluation_of_a_detector_has_no_chance(capsys):
    lines = shown(capsys, Evaluation(accuracy=0.0, ap50=0.0, by_class={"cat": 0.0, "dog": None}, macs=5.0, cost=COST))
    assert [" ".join(line.split()) for line in lines[1:8]] == [
        "protocol %",
        "mAP, IoU 0.50 to 0.95 COCO 0.00",
        "AP50 COCO 0.00",
        "By class",
        "class COCO's AP50 %",
        "cat 0.00",
        "dog -",
    ]
    assert not any("chance" in line for line in lines)


def test_show_evaluation_of_a_detector_names_the_protocol_of_each_figure(capsys):
    numbers = {name: float(number) for number, name in enumerate(PERCENT_FIGURES, start=1)} | {"ap_small": None}
    figures = DetectionFigures(**numbers, ap_by_class={"cat": 20.0, "dog": None})
    detector = Evaluation(
        accuracy=40.0, ap50=50.0, by_class={"cat": 30.0, "dog": None}, detection=figures, macs=5.0, cost=COST
    )
    lines = shown(capsys, detector, metric="mAP")
    assert [" ".join(line.split()) for line in lines[2:19]] == [
        "mAP, IoU 0.50 to 0.95 COCO 40.00",
        "AP50 COCO 50.00",
        "AP75 COCO 1.00",
        "AP, small objects COCO -",
        "AP, medium objects COCO 3.00",
        "AP, large objects COCO 4.00",
        "AR, 100 detections an image COCO 5.00",
        "AR, small objects COCO 6.00",
        "AR, medium objects COCO 7.00",
        "AR, large objects COCO 8.00",
        "AP50, all points (from 2010 on) VOC 9.00",
        "AP50, 11 points (until 2009) VOC 10.00",
        "By class",
        "class COCO's AP50 % COCO's mAP %",
        "cat 30.00 20.00",
        "dog - -",
        "small: up to 32 x 32 pixels of the original image; large: from 96 x 96 on",
    ]


CLOSE_TO_0 = "warning: mAP {} is close to 0: the detector finds hardly any object; "


@pytest.mark.parametrize(("accuracy", "warns"), [(0.0, True), (0.49, True), (0.5, False), (60.0, False)])
def test_tables_warn_of_a_detector_that_finds_hardly_any_object(space, capsys, accuracy, warns):
    detector = Evaluation(accuracy=accuracy, ap50=accuracy, by_class={"cat": accuracy}, macs=5.0, cost=COST)
    advice = "check that images and labels are like those that the model was trained on"
    lines = shown(capsys, detector, metric="mAP")
    assert (CLOSE_TO_0.format(f"{accuracy:.2f}% on test") + advice in lines) == warns

    metrics = replace(retrained(accuracy, None), metric="mAP")
    show_metrics(Screen(), Path("plain"), metrics)
    advice = "check the labels, or train for more --epochs or with another --lr"
    warning = CLOSE_TO_0.format(f"{accuracy:.2f}% on test") + advice
    assert (warning in capsys.readouterr().out.splitlines()) == warns

    entry = FrontEntry(arch=space.min(), accuracy=accuracy, standard_error=None, cost=cost(space.min()))
    result = SearchResult(space="s", data="pets", metric="mAP", budget=Budget(), front=(entry,), best=0)
    show_front(Screen(), Path("run"), result)
    advice = "check the labels, or train the supernet for more --epochs or with another --lr"
    warning = CLOSE_TO_0.format(f"{accuracy:.2f}% on search-val") + advice
    assert (warning in capsys.readouterr().out.splitlines()) == warns


@pytest.mark.parametrize(("accuracy", "chance", "warns"), [(80.0, UNEVEN, True), (95.0, UNEVEN, False)])
def test_show_metrics_warns_of_chance_and_has_balanced_accuracy(capsys, accuracy, chance, warns):
    metrics = retrained(accuracy, chance)
    show_metrics(Screen(), Path("plain"), metrics)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("test accuracy %  test balanced accuracy %  train accuracy %")
    advice = "check the labels, or train for more --epochs or with another --lr"
    assert (AT_CHANCE + advice in lines) == warns
    show_metrics(Screen(), Path("plain"), replace(metrics, chance=EVEN))
    assert "balanced" not in capsys.readouterr().out


def test_show_front_proposes_a_plain_retraining(space, capsys):
    entry = FrontEntry(arch=space.min(), accuracy=90.0, standard_error=1.5, cost=cost(space.min()))
    result = SearchResult(space="s", data="pets", budget=Budget(), front=(entry,), best=0)
    show_front(Screen(), Path("run"), result)
    assert capsys.readouterr().out.endswith("\nnext: tinynas retrain run\n")


def test_show_front_warns_of_a_supernet_at_chance(space, capsys):
    arch = space.min()
    entry = FrontEntry(arch=arch, accuracy=34.0, standard_error=1.5, cost=cost(arch))
    result = SearchResult(space="s", data="pets", budget=Budget(), chance=EVEN, front=(entry,), best=0)
    show_front(Screen(), Path("run"), result)
    assert (
        "warning: accuracy 34.0% on search-val is at chance: always predicting 'cat', the largest class, gives 33.3% "
        "(standard error 3.8 on 150 images); check the labels, or train the supernet for more --epochs or with "
        "another --lr"
    ) in capsys.readouterr().out.splitlines()
    show_front(Screen(), Path("run"), replace(result, front=(replace(entry, accuracy=42.0),)))
    assert "warning" not in capsys.readouterr().out
