"""The generated parts of docs/, and the page of search spaces, cover everything that they describe."""

import re
from dataclasses import fields

import yaml

from pages import COMMANDS, DOCS, blocks_of, script_of_docs, visible_flags
from tinynas import Arch, SearchSpace
from tinynas.arch.block_kinds import SHIPPED, block_kind
from tinynas.arch.choices import StemChoices
from tinynas.arch.heads import DetectorChoices, HeadChoices
from tinynas.experiment.recipes import load_recipe, shipped_recipes
from tinynas.utils.settings import format_value


def test_command_reference_has_every_option_that_help_shows():
    text = script_of_docs("commands").reference()
    for name, command in COMMANDS.items():
        section = text.partition(f"## tinynas {name}\n")[2].partition("\n## ")[0]
        assert all(flag in section for flag in visible_flags(command)), name


def test_settings_tables_name_flags_that_help_shows():
    known = set().union(*map(visible_flags, COMMANDS.values()))
    settings = script_of_docs("settings")
    names = re.findall(r"generate: settings (\w+)", (DOCS / "settings.md").read_text())
    assert len(names) > 4
    for name in names:
        flags = re.findall(r"\| `(--[\w-]+)", settings.table(name))
        assert flags
        assert set(flags) <= known, name


def test_package_picture_is_of_the_code():
    packages = script_of_docs("packages")
    assert packages.PICTURE.read_text() == packages.draw(), "run python docs/scripts/packages.py"


def test_published_figures_are_in_tables():
    text = script_of_docs("recipe_tables").published()
    lines = text.splitlines()
    assert "| `mobilenet-v2-tiny` | imagenet | 51.7 | 52.8 | 53.3 | 54.4 |" in lines
    assert "| `mcunet` | imagenet | 61.5 | - | 62.7 | - |" in lines
    assert "| `mobilenet-v2-w0.35` | cars | -2.2 | +1.5 | +2.9 |" in lines
    assert "<!-- generate: published -->" in (DOCS / "recipes.md").read_text()


def yaml_examples():
    return [yaml.safe_load(block.text) for block in blocks_of(DOCS / "search-spaces.md", "yaml")]


def test_search_space_examples_load():
    classifiers, detectors, kinds, windows, network = yaml_examples()
    assert SearchSpace.from_dict(windows).max().input_shape == (1, 128, 6)
    assert SearchSpace.from_dict(classifiers).task == "classify"
    assert {stage["kind"] for stage in kinds["stages"]} == set(SHIPPED)
    assert SearchSpace.from_dict(kinds).task == "classify"
    assert SearchSpace.from_dict(detectors).task == "detect"
    assert Arch.from_dict(network).resolution == 32


def test_search_space_page_names_every_key():
    text = (DOCS / "search-spaces.md").read_text()
    classifiers, detectors, kinds, *_ = yaml_examples()
    sections = {
        "": (names_of(SearchSpace) - {"stem", "stages", "head"} | {"act"}, [classifiers]),
        "stem.": (names_of(StemChoices), [classifiers["stem"]]),
        "stages[].": ({"kind", "depth", "stride"} | keys_of_blocks(), [*classifiers["stages"], *kinds["stages"]]),
        "head.": (names_of(HeadChoices) | names_of(DetectorChoices), [classifiers["head"], detectors["head"]]),
    }
    for prefix, (keys, examples) in sections.items():
        for key in keys:
            assert f"`{prefix}{key}`" in text, f"the table lacks {prefix}{key}"
            assert any(key in example for example in examples), f"no example has {prefix}{key}"


def keys_of_blocks():
    return {option.key for name in SHIPPED for option in block_kind(name, "SHIPPED").options}


def names_of(cls):
    return {field.name for field in fields(cls)}


def test_recipe_tables_have_every_field_and_every_recipe():
    """The tables are made of the data that a recipe's dry run compares with."""
    tables = script_of_docs("recipe_tables")
    prefixes = re.findall(r"generate: recipes (\w+)", (DOCS / "recipes.md").read_text())
    assert prefixes == ["imagenet", "transfer"]
    for prefix in prefixes:
        text = tables.tables(prefix)
        names = [name for name in shipped_recipes() if name.startswith(prefix)]
        assert all(f"\n| `{name}` | " in text for name in names)
        for name in names:
            (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
            for field in load_recipe(name).authors.fields:
                label = field.name.removeprefix("arch.")
                assert f"| `{label}` |" in text or f"| {label} |" in text, label
            assert f" {format_value(load_recipe(name).overrides.get('recipe.lr'))} (base_lr " in row
        assert text.count("**differs**") + text.count("**theirs**") > 5
    assert sum(len([name for name in shipped_recipes() if name.startswith(prefix)]) for prefix in prefixes) == 30
