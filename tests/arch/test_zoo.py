import pytest
import yaml

from helpers import SMALL
from tinynas import cost, load_arch, load_space
from tinynas.arch.zoo import shipped_spaces
from tinynas.utils.errors import FileError, InputError


def test_load_arch_names_a_missing_file(tmp_path):
    with pytest.raises(FileError, match=r"cannot read .*nothing\.yaml"):
        load_arch(tmp_path / "nothing.yaml")


def test_load_arch_names_the_line_of_invalid_yaml(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("resolution: [1,\nstem: {")
    with pytest.raises(FileError, match=r"bad\.yaml, line 2 is not valid YAML"):
        load_arch(path)


RANGES = {
    "micro": (0.05e6, 4.2e6),
    "micro-v1": (0.05e6, 5e6),
    "mobile32": (3e6, 150e6),
    "mcu": (5e6, 130e6),
    "mobile": (60e6, 600e6),
}


@pytest.mark.parametrize(("name", "macs"), RANGES.items())
def test_load_space_of_a_shipped_space_covers_its_range(name, macs):
    space = load_space(name)
    assert macs[0] * 0.75 < cost(space.min()).macs < macs[0] * 1.3
    assert macs[1] * 0.75 < cost(space.max()).macs < macs[1] * 1.3


def test_load_space_and_load_arch_suggest_the_nearest_name():
    with pytest.raises(InputError, match="unknown search space 'mirco'; did you mean 'micro'"):
        load_space("mirco")
    with pytest.raises(InputError, match="did you mean 'mcunet-in3'"):
        load_arch("mcunet-in")


def test_load_space_names_the_file_of_an_error(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(SMALL | {"divisors": 4}))
    with pytest.raises(InputError, match=r"mine\.yaml: unknown key .* did you mean 'divisor'"):
        load_space(path)
    with pytest.raises(FileError, match="No such file"):
        load_space(tmp_path / "other.yaml")


def test_load_space_reads_a_file(tmp_path, space):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    assert load_space(path) == space
    assert set(shipped_spaces()) == {"micro", "micro-v1", "mobile32", "mcu", "mobile", "detect", "ds-cnn", "vit-tiny"}


@pytest.mark.parametrize("name", shipped_spaces())
def test_stages_of_several_depths_have_shortcuts(name):
    """Otherwise what a stage hands on and what its next block reads would be one feature map, for two purposes."""
    space = load_space(name)
    for choices, blocks in zip(space.stages, space.max().stages, strict=True):
        if len(choices.depth) > 1:
            assert all(block.residual for block in blocks[1:])
