import json
from dataclasses import asdict, replace

import pytest
import yaml

from tinynas.experiment.config import RetrainConfig, SupernetConfig
from tinynas.experiment.saved import read_config, save_config
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import FileError
from tinynas.utils.io import from_json, to_json, write_yaml
from tinynas.utils.overrides import Overrides


def test_save_config_accepts_only_the_same_configuration(tmp_path):
    path = tmp_path / "config.yaml"
    save_config(path, {"space": "micro", "recipe": {"lr": 0.1}, "width": (1.0, 2.0)})
    save_config(path, {"space": "micro", "recipe": {"lr": 0.1}, "width": (1.0, 2.0)})
    with pytest.raises(FileError, match='another configuration: space is "micro" there, "mcu" here'):
        save_config(path, {"space": "mcu", "recipe": {"lr": 0.1}, "width": (1.0, 2.0)})


def test_save_config_adds_settings_that_an_older_version_did_not_have(tmp_path):
    path = tmp_path / "config.yaml"
    save_config(path, {"space": "micro", "recipe": {"lr": 0.1}})
    save_config(path, {"space": "micro", "recipe": {"lr": 0.1, "max_grad_norm": 0.0}, "num_random_subnets": 2})
    with pytest.raises(FileError, match="another configuration: num_random_subnets is 2 there, 3 here"):
        save_config(path, {"space": "micro", "recipe": {"lr": 0.1, "max_grad_norm": 0.0}, "num_random_subnets": 3})
    with pytest.raises(FileError, match=r"another configuration: recipe\.max_grad_norm is 0\.0 there, 1\.0 here"):
        save_config(path, {"space": "micro", "recipe": {"lr": 0.1, "max_grad_norm": 1.0}, "num_random_subnets": 2})


@pytest.mark.parametrize("setting", [{"crop_scale": 0.08}, {"warmup_lr": 0.01}, {"residual_gain": 1.0}])
def test_save_config_refuses_to_go_on_with_settings_that_an_older_version_did_not_have(tmp_path, setting):
    (name,) = setting
    older = json.loads(json.dumps(asdict(RetrainConfig())))
    (older if name in older else older["recipe"]).pop(name)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(older))
    changed = Overrides.read(setting, RetrainConfig).apply(RetrainConfig())
    with pytest.raises(FileError, match=rf"another configuration: .*{name} is .* there, {setting[name]} here"):
        save_config(path, asdict(changed))
    save_config(path, asdict(RetrainConfig()))
    assert yaml.safe_load(path.read_text()) == json.loads(json.dumps(asdict(RetrainConfig())))


def test_settings_that_runs_of_earlier_versions_lack_have_the_defaults_of_their_kind(tmp_path):
    """`init` is a setting of a supernet and of a retraining, with another default."""
    for name, config in (("run", SupernetConfig()), ("retraining", RetrainConfig())):
        path, plain = tmp_path / name / "config.yaml", asdict(config)
        write_yaml(path, {key: value for key, value in from_json(to_json(plain)).items() if key != "init"})
        save_config(path, plain)
        assert read_config(path)["init"] == plain["init"]
        with pytest.raises(FileError, match="another configuration: init is"):
            save_config(path, plain | {"init": "/other.safetensors"})


def test_save_config_renames_settings_of_an_earlier_version(tmp_path):
    older = {"data": "digits", "teaching": {"teacher": "supernet"}, "netaug": {"networks": 2}, "recipe": {"clip": 1.0}}
    config = Overrides.read(older, RetrainConfig).apply(RetrainConfig())
    assert (config.distillation.teacher, config.netaug.num_augmented) == ("supernet", 2)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    save_config(tmp_path / "config.yaml", asdict(config))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == json.loads(json.dumps(asdict(config)))
    with pytest.raises(FileError, match=r"recipe\.max_grad_norm is 1\.0 there, 2\.0 here"):
        save_config(tmp_path / "config.yaml", asdict(replace(config, recipe=Recipe(max_grad_norm=2.0))))
