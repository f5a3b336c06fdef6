import pytest
import yaml

from tinynas import Arch, load_arch
from tinynas.arch.arch import Block, Stem
from tinynas.arch.zoo import shipped_networks
from tinynas.utils.errors import FileError, InputError


@pytest.mark.parametrize("name", shipped_networks())
def test_shipped_networks_survive_yaml(name):
    arch = load_arch(name)
    assert Arch.from_dict(yaml.safe_load(arch.to_yaml())) == arch
    assert Arch.from_dict(arch.to_dict()) == arch
    assert hash(Arch.from_dict(arch.to_dict())) == hash(arch)


def test_random_archs_survive_yaml(shipped_space, rng):
    for _ in range(20):
        arch = shipped_space.sample(rng)
        assert Arch.from_dict(yaml.safe_load(arch.to_yaml())) == arch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolutoin": 32}, "did you mean 'resolution'"),
        ({"resolution": 0}, "resolution > 0"),
        ({"classes": "ten"}, "classes > 0"),
        ({"stages": []}, "every stage has a block"),
        ({"stages": 3}, "stages must be a list"),
        ({"stem": {"out": 8, "act": "rellu"}}, "did you mean 'relu'"),
        ({"stem": {}}, "stem lacks the key 'out'"),
        ({"stem": None}, "stem must be a mapping"),
        ({"head": {"conv": -1}}, "head conv >= 0"),
        ({"stages": [[{"out": 8, "kernel": 4}]]}, "kernel is odd"),
        ({"stages": [[{"out": 8, "kernel": 3, "residual": True, "stride": 2}]]}, "residual block has stride 1"),
    ],
)
def test_a_description_that_is_wrong(change, message):
    plain = {"resolution": 32, "stem": {"out": 8}, "stages": [[{"out": 8, "kernel": 3}]]} | change
    with pytest.raises(InputError, match=message):
        Arch.from_dict(plain)


def test_a_residual_block_keeps_its_channels():
    with pytest.raises(InputError, match="keeps its channels"):
        Arch(resolution=8, stem=Stem(out=4), stages=((Block(out=8, kernel=3, residual=True),),))


def test_a_missing_key_is_named():
    with pytest.raises(InputError, match="an arch lacks the key 'stages'"):
        Arch.from_dict({"resolution": 32, "stem": {"out": 8}})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileError, match=r"cannot read .*nothing\.yaml"):
        load_arch(tmp_path / "nothing.yaml")


def test_a_file_that_is_not_yaml(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("resolution: [1,\nstem: {")
    with pytest.raises(FileError, match=r"bad\.yaml, line 2 is not valid YAML"):
        load_arch(path)
