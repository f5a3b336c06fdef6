import json
import os
import threading
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from tinynas import build, load, load_arch
from tinynas.data.base import Normalisation
from tinynas.experiment.log import Log
from tinynas.experiment.results import read_front
from tinynas.experiment.run_folder import newest, settle_config
from tinynas.models.model_file import Model, read_model, save_model
from tinynas.utils.errors import FileError
from tinynas.utils.io import only_one


@pytest.fixture
def model(space):
    net = build(space.max()).eval()
    return Model(net=net, data="small", classes=("a", "b", "c"), normalise=Normalisation(mean=(0.25,), std=(0.5,)))


def test_a_delivered_model_comes_back(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    again = read_model(path)
    images = torch.randn(2, 1, 12, 12)
    assert torch.equal(load(path)(images), model.net(images))
    assert (again.net.arch, again.classes, again.normalise) == (model.net.arch, model.classes, model.normalise)
    assert not again.net.training
    with safe_open(path, "pt") as file:
        assert set(file.metadata()) == {"format", "arch", "data", "classes", "normalisation", "crop", "sha256"}


def test_a_published_network_comes_back(tmp_path):
    net = build(load_arch("mobilenet-v3-large-w0.35")).eval()
    save_model(tmp_path / "m", Model(net=net, data="small", classes=(), normalise=Normalisation(mean=(), std=())))
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(load(tmp_path / "m")(images), net(images))


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-100], lambda raw: raw[:40], lambda raw: b"", lambda raw: b"x" * 500]
)
def test_a_damaged_model_is_named(model, tmp_path, damage):
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=r"model\.safetensors is damaged or no tinynas model"):
        load(path)


def test_other_model_files_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({"weight": torch.ones(3)}))
    with pytest.raises(FileError, match="damaged or no tinynas model"):
        load(path)
    path.write_bytes(save({"weight": torch.ones(3)}, {"format": "tinynas 99"}))
    with pytest.raises(FileError, match="has format 99, newer than this tinynas reads"):
        load(path)
    with pytest.raises(FileError, match=r"cannot read .*nothing: No such file"):
        load(tmp_path / "nothing")


def test_a_config_is_settled_once(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, {"space": "micro", "recipe": {"lr": 0.1}, "width": (1.0, 2.0)})
    settle_config(path, {"space": "micro", "recipe": {"lr": 0.1}, "width": (1.0, 2.0)})
    with pytest.raises(FileError, match='of another configuration: space is "micro" there, "mcu" here'):
        settle_config(path, {"space": "mcu", "recipe": {"lr": 0.1}, "width": (1.0, 2.0)})


def test_settings_that_an_older_version_did_not_have_are_added(tmp_path):
    path = tmp_path / "config.yaml"
    settle_config(path, {"space": "micro", "recipe": {"lr": 0.1}})
    settle_config(path, {"space": "micro", "recipe": {"lr": 0.1, "max_grad_norm": 0.0}, "num_random_subnets": 2})
    with pytest.raises(FileError, match="another configuration: num_random_subnets is 2 there, 3 here"):
        settle_config(path, {"space": "micro", "recipe": {"lr": 0.1, "max_grad_norm": 0.0}, "num_random_subnets": 3})
    with pytest.raises(FileError, match=r"another configuration: recipe\.max_grad_norm is 0\.0 there, 1\.0 here"):
        settle_config(path, {"space": "micro", "recipe": {"lr": 0.1, "max_grad_norm": 1.0}, "num_random_subnets": 2})


def test_a_log_drops_what_is_repeated(tmp_path):
    path = tmp_path / "log.jsonl"
    first = Log(path)
    for step in (10, 20, 30):
        first.add({"step": step, "loss": 1})
    with open(path, "a") as file:
        file.write('{"step": 40, "lo')  # cut off
    second = Log(path)
    for step in (20, 30, 40):
        second.add({"step": step, "loss": 2})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["step"], r["loss"]) for r in records] == [(10, 1), (20, 2), (30, 2), (40, 2)]


def test_the_newest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"no \*/front.json in runs"):
        newest("*/front.json")
    for age, name in enumerate(("c", "a", "b")):
        path = tmp_path / "runs" / name / "front.json"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    assert newest("*/front.json").parent.name == "c"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"front": []}', '{"front": [{}], "best": 0, "space": "", "data": "", "limits": {}}']
)
def test_a_damaged_front_is_named(tmp_path, content):
    (tmp_path / "front.json").write_text(content)
    with pytest.raises(FileError, match=r"front\.json is damaged"):
        read_front(tmp_path)


def test_one_process_at_a_time_is_inside_and_the_next_is_told_to_wait(tmp_path):
    path, order = tmp_path / "run" / "lock", []

    def other():
        with only_one(path, lambda: order.append("waits")):
            order.append("in")

    with only_one(path, lambda: pytest.fail("nobody was inside")):
        thread = threading.Thread(target=other)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("out")
    thread.join()
    assert order == ["waits", "out", "in"]
