"""The recipes that come with tinynas are those of their authors, and files of users are read like them."""

import pytest
import yaml

from helpers import ROOT, TINY
from tinynas import load_arch
from tinynas.experiment.authors import compare_with_authors, read_authors
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.recipes import load_recipe, shipped_recipes
from tinynas.experiment.saved import read_config_file
from tinynas.pipelines.planning import default_config
from tinynas.utils.errors import FileError, InputError
from tinynas.utils.settings import settings_of

IMAGENET = {  # network, resolution, GPUs, images and learning rate of a GPU, weight decay, width factors
    "imagenet-netaug-mobilenet-v2-tiny": ("mobilenet-v2-tiny", 144, 16, 128, 0.025, 4e-5, (1, 1.8, 2.6)),
    "imagenet-netaug-mobilenet-v2-w0.35": ("mobilenet-v2-w0.35", 160, 16, 128, 0.025, 4e-5, (1, 1.8, 2.6)),
    "imagenet-netaug-mobilenet-v3-large-w0.35": ("mobilenet-v3-large-w0.35", 160, 16, 128, 0.1, 3e-5, (1, 2, 3)),
    "imagenet-netaug-proxyless-mobile-w0.35": ("proxyless-mobile-w0.35", 160, 16, 128, 0.025, 4e-5, (1, 1.8, 2.6)),
    "imagenet-netaug-mcunet": ("mcunet-in3", 176, 32, 64, 0.0125, 4e-5, (1, 1.6, 2.2)),
}
RATES = {  # of a GPU, of four, in the authors' scripts of transfer: mbv2, mcunet, proxylessnas, mbv3, tinymbv2
    "cars": (0.18, 0.25, 0.20, 0.10, 0.14),
    "cub200": (0.02, 0.08, 0.04, 0.02, 0.04),
    "flowers102": (0.08, 0.05, 0.06, 0.05, 0.08),
    "food101": (0.10, 0.04, 0.10, 0.20, 0.06),
    "pets": (0.01, 0.01, 0.01, 0.01, 0.06),
}
DROPOUTS = {
    "cars": (0.5, 0.1, 0.2, 0.7, 0.2),
    "cub200": (0.7, 0.6, 0.7, 0.8, 0.5),
    "flowers102": (0.3, 0.4, 0.2, 0.6, 0.0),
    "food101": (0.2, 0.1, 0.2, 0.2, 0.1),
    "pets": (0.4, 0.6, 0.8, 0.8, 0.1),
}
PARTS = (
    "mobilenet-v2-w0.35",
    "mcunet",
    "proxyless-mobile-w0.35",
    "mobilenet-v3-large-w0.35",
    "mobilenet-v2-tiny",
)
TRANSFER = {f"transfer-{data}-{part}": (data, number) for data in RATES for number, part in enumerate(PARTS)}
every_recipe = pytest.mark.parametrize("name", shipped_recipes())


def resolved(recipe):
    config = default_config(recipe.arch, "digits", netaug=bool(recipe.overrides.get("netaug")))
    return recipe.overrides.apply(config)


def test_there_is_a_recipe_for_every_script_of_the_authors():
    assert set(shipped_recipes()) == set(IMAGENET) | set(TRANSFER)


@pytest.mark.parametrize("name", IMAGENET)
def test_recipes_of_imagenet_are_those_of_the_authors(name):
    network, resolution, gpus, images, rate, weight_decay, width = IMAGENET[name]
    recipe = load_recipe(name)
    config = resolved(recipe)
    assert recipe.arch == load_arch(network)
    assert (recipe.arch.resolution, recipe.needs_model) == (resolution, False)
    assert config.recipe.batch_size == gpus * images
    assert config.recipe.lr == pytest.approx(gpus * rate)
    assert (config.recipe.warmup_lr, config.recipe.weight_decay) == (rate, weight_decay)
    assert config.netaug.width == width


@pytest.mark.parametrize("name", TRANSFER)
def test_recipes_of_transfer_are_those_of_the_authors(name):
    data, number = TRANSFER[name]
    recipe = load_recipe(name)
    config = resolved(recipe)
    part = PARTS[number]
    assert recipe.needs_model
    assert recipe.arch == load_arch("mcunet-in3" if part == "mcunet" else part)
    assert config.dropout == DROPOUTS[data][number]
    assert config.recipe.lr == pytest.approx(4 * RATES[data][number])
    assert config.recipe.warmup_lr == RATES[data][number]
    assert (config.recipe.batch_size, config.recipe.epochs, config.netaug) == (4 * 64, 50 + 5, None)


def test_recipes_of_imagenet_warm_up_before_150_epochs_and_augment_widths_until_75_are_left():
    config = resolved(load_recipe("imagenet-netaug-mcunet"))
    rates = [config.recipe.rate(epoch) for epoch in (0, 5, 80, 155)]
    assert rates == pytest.approx([0.0125, 0.4, 0.2, 0])
    epochs = config.recipe.epochs
    augmented = [epoch for epoch in range(epochs) if len(config.netaug.factors(epoch / epochs)[0]) > 1]
    assert augmented == [epoch for epoch in range(150 + 5) if 150 + 5 - epoch > 75]
    assert all(len(config.netaug.factors(epoch / epochs)[1]) > 1 for epoch in range(epochs))


@every_recipe
def test_settings_of_a_recipe_are_its_authors_but_for_the_weights_that_are_kept(name):
    recipe = load_recipe(name)
    compared = compare_with_authors(recipe.arch, resolved(recipe), recipe.authors)
    differing = [field for field in compared if field.differs]
    assert [field.name for field in differing if field.is_setting] == ["keep"]
    assert all(field.note and field.source for field in differing)
    known = [field for field in compared if field.differs is not None]
    assert all(field.source.endswith((".py", ".yaml", ".sh")) for field in known)
    script = {source for field in known for source in field.source.split(", ") if source.endswith(".sh")}
    assert len(script) == 1


@every_recipe
def test_recipe_names_every_setting_that_its_authors_have(name):
    """So that a changed default does not change a recipe."""
    recipe = load_recipe(name)
    settings = {declared.path for declared in settings_of(RetrainConfig)}
    named = {field.name for field in recipe.authors.fields if field.is_setting} & settings
    defaults = {"distillation"}  # without a teacher there is nothing to name
    assert named - defaults <= set(recipe.overrides.values)


def test_compare_with_authors_marks_what_a_user_changes():
    recipe = load_recipe("imagenet-netaug-mcunet")
    overrides = recipe.overrides.read({"epochs": 2, "batch_size": 256, "brightness": 0.125}, RetrainConfig)
    config = overrides.apply(resolved(recipe))
    compared = {field.name: field for field in compare_with_authors(recipe.arch, config, recipe.authors)}
    assert {name for name, field in compared.items() if field.differs and field.is_setting} == {
        "keep",
        "recipe.epochs",
        "recipe.batch_size",
        "recipe.brightness",
    }
    assert (compared["recipe.epochs"].here, compared["recipe.epochs"].authors) == ("2", "155")
    assert compared["recipe.lr"].written == "base_lr 0.0125 x 32 GPUs"
    assert compared["recipe.lr"].source == "train.py, bash/imagenet/mcunet.sh"
    assert (compared["recipe.seed"].authors, compared["recipe.seed"].differs) == ("", None)


def test_compare_without_authors_has_every_setting_in_use():
    arch = load_arch("mcunet-in3")
    compared = compare_with_authors(arch, RetrainConfig(), None)
    assert all((field.authors, field.differs) == ("", None) for field in compared)
    names = [field.name for field in compared]
    paths = [declared.path for declared in settings_of(RetrainConfig)]
    assert names == ["arch.resolution", *(path for path in paths if not path.startswith(("netaug.", "distillation.")))]


def test_recipe_of_a_user_has_a_network_of_its_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"arch": TINY.to_dict(), "recipe": {"epochs": 3}}))
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.arch, recipe.authors) == ("mine", TINY, None)
    assert recipe.overrides.apply(RetrainConfig()).recipe.epochs == 3


def test_changed_copy_of_a_recipe_keeps_its_authors(tmp_path):
    text = shipped_recipes()["imagenet-netaug-mcunet"].replace("epochs: 155", "epochs: 30")
    (tmp_path / "short.yaml").write_text(text)
    recipe = load_recipe(str(tmp_path / "short.yaml"))
    compared = compare_with_authors(recipe.arch, resolved(recipe), recipe.authors)
    assert [field.name for field in compared if field.differs and field.is_setting] == ["keep", "recipe.epochs"]


def test_recipe_is_a_file_of_settings_as_well():
    path = ROOT / "recipes" / "imagenet-netaug-mcunet.yaml"
    assert read_config_file(path, RetrainConfig) == load_recipe("imagenet-netaug-mcunet").overrides


def test_load_recipe_names_what_is_wrong(tmp_path):
    with pytest.raises(
        InputError, match="unknown recipe 'imagenet-netaug-mcunt'; did you mean 'imagenet-netaug-mcunet'"
    ):
        load_recipe("imagenet-netaug-mcunt")
    with pytest.raises(FileError, match=r"cannot read .*none\.yaml"):
        load_recipe(str(tmp_path / "none.yaml"))
    path = tmp_path / "r.yaml"
    for text, message in (
        ("recipe: {epochs: 3}", r"r\.yaml has no network; add arch: NAME, or pass the settings with --config"),
        ("arch: mcunet-in4", r"unknown network 'mcunet-in4', .*; did you mean 'mcunet-in3'"),
        ("arch: mcunet-in3\nepoch: 3", r"unknown key in .*r\.yaml 'epoch'; did you mean 'epochs'"),
        ("arch: mcunet-in3\nauthors: me", "nothing is known about the authors of 'me'; remove the key authors"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            load_recipe(str(path))


def test_authors_are_cited_with_a_commit():
    authors = read_authors("transfer-pets-mcunet")
    assert authors.repository == "https://github.com/mit-han-lab/tinyml/netaug"
    assert len(authors.commit) == 40
