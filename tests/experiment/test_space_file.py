from dataclasses import replace

import pytest

from helpers import DETECTORS, SPACE
from tinynas import SearchSpace, load_space
from tinynas.arch.zoo import shipped_spaces
from tinynas.experiment.space_file import CUSTOM, name_of_space, space_to_yaml
from tinynas.utils.errors import InputError
from tinynas.utils.schema import read_yaml

SPACES = [SPACE, SearchSpace.from_dict(DETECTORS), *map(load_space, shipped_spaces())]


@pytest.mark.parametrize("space", SPACES)
def test_spaces_are_restored_from_their_yaml(space):
    assert SearchSpace.from_dict(read_yaml(space_to_yaml(space), "space")) == space


def test_shipped_spaces_have_their_names():
    for name in shipped_spaces():
        assert name_of_space(load_space(name)) == name
    assert name_of_space(replace(load_space("micro"), resolution=(20,))) == CUSTOM


def test_space_whose_blocks_differ_within_a_stage_has_no_yaml():
    stage = SPACE.stages[0]
    blocks = (*stage.blocks[:-1], replace(stage.blocks[0], strides=(1,)))
    space = replace(SPACE, stages=(replace(stage, blocks=blocks), *SPACE.stages[1:]))
    with pytest.raises(InputError, match="has no YAML form: all blocks of a stage need the same options"):
        space_to_yaml(space)
