"""What a reproduction trains, and the published figures beside it."""

import json

import pytest

from tinynas import load_arch
from tinynas.experiment.authors import compare_with_authors
from tinynas.experiment.published import read_published
from tinynas.experiment.recipes import load_recipe
from tinynas.experiment.reproduction import (
    IMAGENET,
    METHODS,
    METHODS_OF,
    PARTS,
    Training,
    check_choices,
    data_sets_of,
    methods_of,
    networks,
    transfer_sets,
)
from tinynas.experiment.reproduction_report import ReproducedTraining, ReproductionReport
from tinynas.pipelines.planning import default_config
from tinynas.utils.errors import InputError
from tinynas.utils.overrides import Overrides

NET = "mobilenet-v2-w0.35"
BARS = {  # of figures/fig4.png, which has the numbers: plain, NetAug
    "mobilenet-v2-tiny": (51.7, 53.3),
    "mobilenet-v2-w0.35": (56.3, 57.8),
    "proxyless-mobile-w0.35": (59.1, 60.8),
    "mcunet": (61.5, 62.7),
}


def compared_of(net, method):
    training = Training(data_set=IMAGENET, method=method)
    recipe = training.recipe(net)
    settings = training.settings(recipe.overrides)
    config = settings.apply(default_config(recipe.arch, "digits", netaug=bool(settings.get("netaug"))))
    return {field.name: field for field in compare_with_authors(recipe.arch, config, recipe.authors)}


@pytest.mark.parametrize("net", networks())
@pytest.mark.parametrize("method", ["plain", "plain-4x", "netaug"])
def test_trainings_on_imagenet_have_the_authors_settings(net, method):
    compared = compared_of(net, method)
    assert [name for name, field in compared.items() if field.differs and field.is_setting] == ["keep"]
    assert compared["init"].here == ("kaiming-uniform" if method == "netaug" else "kaiming-normal")
    assert compared["recipe.epochs"].here == ("620" if method == "plain-4x" else "155")


@pytest.mark.parametrize("net", networks())
def test_baseline_differs_from_netaug_in_what_the_authors_configuration_does(net):
    plain, netaug = compared_of(net, "plain"), compared_of(net, "netaug")
    assert {name for name in plain if plain[name].here != netaug[name].here} == {
        "init",
        "recalibration_images",
        "augment_recalibration",
        "netaug",
    }
    assert "batches of recalibration" not in plain
    assert not any("channels" in name for name in plain)
    hidden = plain.get("initial weights of the hidden layer")
    assert (hidden is not None) == (net == "mobilenet-v3-large-w0.35")
    assert hidden is None or hidden.authors == "normal, std sqrt(2 / outputs)"


def test_recipe_without_a_known_baseline_says_so():
    with pytest.raises(
        InputError, match="nothing is known about a plain training beside the recipe transfer-pets-mcunet"
    ):
        load_recipe("transfer-pets-mcunet").baseline()


def test_networks_and_sets_are_those_of_the_recipes():
    assert set(networks()) == {*BARS, "mobilenet-v3-large-w0.35"}
    assert all(transfer_sets(net) == ["cars", "cub200", "flowers102", "food101", "pets"] for net in networks())
    assert Training(data_set="cars", method="netaug").recipe("mcunet").arch == load_arch("mcunet-in3")


def test_published_figures_are_those_of_the_authors_figures_and_agree():
    published = read_published()
    for net, (plain, netaug) in BARS.items():
        assert (published.accuracy(net, IMAGENET, "plain"), published.accuracy(net, IMAGENET, "netaug")) == (
            plain,
            netaug,
        )
    gains = published.gains[NET][IMAGENET]
    for method in ("teacher", "netaug"):
        assert published.gain(NET, IMAGENET, method) == gains[method]
    alike = [net for net in networks() if published.gain(net, IMAGENET, "netaug") == gains["netaug"]]
    assert alike == [NET], "the figure's network is the only one with these gains"
    assert published.gain(NET, "cars", "plain-4x") == -2.2
    assert published.gain(NET, "food101", "teacher") is None
    assert published.gain("mcunet", "cars", "netaug") is None
    assert published.accuracy(NET, "cars", "netaug") is None
    sets = {*transfer_sets(NET), IMAGENET}
    assert set(published.classes) == sets


def test_settings_of_other_ways_of_training_are_left_out():
    given = Overrides({"netaug.width": (1.0, 2.0), "distillation.teacher": "t", "recipe.epochs": 3})
    taught = Training(data_set=IMAGENET, method="teacher").settings(given)
    assert taught.values == {"distillation.teacher": "t", "recipe.epochs": 3, "distillation": True, "netaug": False}
    transfer = Training(data_set="pets", method="netaug+teacher").settings(given)
    assert transfer.values == {"recipe.epochs": 3, "distillation": False, "netaug": False}


def test_every_part_has_ways_of_training():
    assert set(METHODS_OF) == set(PARTS)
    for part in PARTS:
        assert methods_of(part, ()) == methods_of(part, METHODS_OF[part])
    with pytest.raises(InputError, match="teacher is no way of training of --part imagenet; train it with --part kd"):
        methods_of("imagenet", ("teacher",))
    with pytest.raises(InputError, match="plain is no way of training of --part kd; train it with --part imagenet"):
        methods_of("kd", ("plain",))
    with pytest.raises(InputError, match="unknown way of training 'netag'; did you mean 'netaug'"):
        methods_of("transfer", ("netag",))
    assert methods_of("transfer", METHODS) == METHODS


def test_data_sets_are_named_by_set_or_by_set_and_data():
    assert data_sets_of("imagenet", NET, ["imagefolder:a"]) == {"imagenet": "imagefolder:a"}
    named = ["pets", "cars:b", "cub200=imagefolder:c"]
    assert data_sets_of("transfer", NET, named) == {"pets": "pets", "cars": "cars:b", "cub200": "imagefolder:c"}
    assert data_sets_of("detect", NET, ["voc:a", "coco:b"]) == {"voc": "voc:a", "coco": "coco:b"}
    for part, names, message in (
        ("transfer", [], "--part transfer needs images; add --data pets"),
        ("kd", ["a", "b"], "--part kd trains on one data set, but there are a, b; keep one --data"),
        ("transfer", ["dogs"], "unknown set of transfer 'dogs'; known: cars, cub200, flowers102, food101, pets"),
        ("transfer", ["cub200"], "cub200 is no data set by name; add --data cub200=imagefolder:PATH"),
        ("detect", ["imagefolder:a"], "unknown data set of detection 'imagefolder'; known: coco, voc"),
    ):
        with pytest.raises(InputError, match=message):
            data_sets_of(part, NET, names)


def test_choices_are_checked():
    for words, message in (
        (("netag", NET, "imagenet"), "unknown paper 'netag'; did you mean 'netaug'"),
        (("netaug", "mcunet-in3", "imagenet"), "unknown network 'mcunet-in3'; did you mean 'mcunet'"),
        (("netaug", NET, "imagenets"), "unknown part 'imagenets'; did you mean 'imagenet'"),
    ):
        with pytest.raises(InputError, match=message):
            check_choices(*words)


def reproduced(**changes):
    values = {
        "data_set": "imagenet",
        "method": "netaug",
        "metric": "accuracy",
        "here": 57.1,
        "paper": 57.8,
        "gain": 1.25,
        "paper_gain": 1.5,
        "differs": (),
        "seed": 0,
    }
    return ReproducedTraining(**(values | changes))


def test_table_has_the_paper_here_and_the_difference(tmp_path):
    missing = reproduced(data_set="cars", paper=None, gain=None, paper_gain=None, differs=("recipe.epochs 1 (55)",))
    report = ReproductionReport(net=NET, trainings=(reproduced(), missing), notes=("a note",))
    first, second = report.rows()
    assert (first["paper %"], first["here %"], first["difference"]) == ("57.8", "57.10", "-0.70")
    assert (first["paper's gain"], first["gain here"], first["the paper's settings"]) == ("+1.5", "+1.25", "yes")
    assert (second["paper %"], second["difference"], second["gain here"]) == ("-", "-", "-")
    assert second["the paper's settings"] == "no: 1 differ"
    assert reproduced(differs=None).row(NET)["the paper's settings"] == "not published"
    report.write(tmp_path)
    plain = json.loads((tmp_path / "reproduction.json").read_text())
    assert plain["trainings"][0]["difference"] == pytest.approx(-0.7)
    lines = (tmp_path / "reproduction.md").read_text().splitlines()
    assert lines[2].split(" | ")[4:7] == ["paper %", "here %", "difference"]
    assert len(lines[2].split("|")) == len(lines[3].split("|")) == len(lines[4].split("|"))
    assert lines[-1] == "- a note"
