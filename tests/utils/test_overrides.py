import pytest

from helpers import overrides
from tinynas.experiment.config import NetAug, RetrainConfig
from tinynas.utils.errors import InputError
from tinynas.utils.overrides import Overrides


def test_overrides_read_names_paths_sections_and_older_names_alike():
    nested = {"recipe": {"max_grad_norm": 2.0, "weight_decay": "1e-4"}, "netaug": {"num_augmented": 2}}
    flat = {"max_grad_norm": 2, "weight_decay": 1e-4, "netaug": True, "num_augmented": 2}
    older = {"recipe": {"clip": 2.0}, "recipe.weight_decay": 1e-4, "netaug": {"networks": 2}}
    read = [Overrides.read(plain, RetrainConfig).apply(RetrainConfig()) for plain in (nested, flat, older)]
    assert read[0] == read[1] == read[2]
    assert read[0].netaug.num_augmented == 2
    assert (read[0].recipe.max_grad_norm, read[0].recipe.weight_decay) == (2.0, 1e-4)


def test_overrides_turn_sections_on_and_off():
    file = Overrides.read({"netaug": {"alpha": 0.5}, "teaching": {"teacher": "supernet"}, "epochs": 3}, RetrainConfig)
    assert file.apply(RetrainConfig()).netaug == NetAug(alpha=0.5)
    config = (file | Overrides.read({"netaug": False, "distillation": None}, RetrainConfig)).apply(RetrainConfig())
    assert (config.netaug, config.distillation, config.recipe.epochs) == (None, None, 3)
    with pytest.raises(InputError, match=r"teacher_weight has no effect without --teacher"):
        Overrides.read({"teacher_weight": 0.1}, RetrainConfig).apply(RetrainConfig())
    with pytest.raises(InputError, match=r"distillation lacks teacher; add --teacher"):
        Overrides.read({"distillation": {"temperature": 2}}, RetrainConfig).apply(RetrainConfig())


def test_overrides_refuse_settings_of_a_section_that_is_off():
    with pytest.raises(InputError, match=r"alpha has no effect without --netaug; add --netaug"):
        overrides(alpha=0.5).apply(RetrainConfig())
    with pytest.raises(InputError, match=r"temperature has no effect without --teacher; add --teacher"):
        overrides(temperature=2.0).apply(RetrainConfig(netaug=NetAug()))
