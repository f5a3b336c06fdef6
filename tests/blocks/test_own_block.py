"""The block of docs/blocks.md: a stranger's class, in a program and in a package of its own."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass

import numpy as np
import pytest
import torch
import yaml

from helpers import images_for, model_of
from pages import DOCS, blocks_of
from tinynas import Arch, SearchSpace, Supernet, augment, cost, load_space
from tinynas.arch import block_kinds
from tinynas.arch.blocks import Stem
from tinynas.arch.lowering import lower
from tinynas.arch.memory_plan import peak_bytes
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.run_folder import RetrainFolder
from tinynas.experiment.saved import read_retraining, save_config
from tinynas.models.model_file import read_model, save_model
from tinynas.models.profile import recount
from tinynas.pipelines.block_check import check_blocks
from tinynas.pipelines.run_supernet import space_for
from tinynas.utils.errors import FileError, InputError

PAGE = DOCS / "blocks.md"
BLOCK, PROGRAM = [block.text for block in blocks_of(PAGE, "python")]
(SPACE,) = [block.text for block in blocks_of(PAGE, "yaml")]
(ENTRY_POINT,) = [block.text for block in blocks_of(PAGE, "toml")]


@pytest.fixture
def bottleneck(monkeypatch):
    """The kind of the page, known for one test."""
    monkeypatch.setattr(block_kinds, "_kinds", dict(block_kinds._kinds))
    names = {"__name__": "bottleneck"}
    exec(BLOCK, names)
    return names["Bottleneck"]


def test_the_example_is_short():
    assert len(BLOCK.splitlines()) < 60


def test_the_example_keeps_what_every_block_promises(bottleneck, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    space = load_space(tmp_path / "space.yaml")
    supernet, rng = Supernet(space).eval(), np.random.default_rng(0)
    for arch in (space.min(), space.max(), space.sample(rng), space.sample(rng)):
        images = images_for(arch)
        assert torch.equal(supernet(images, arch), supernet.extract(arch)(images))
        assert recount(arch) == {"macs": cost(arch).macs, "params": cost(arch).params}
        assert cost(arch).peak_sram == peak_bytes(lower(arch))
        assert augment(arch).min() == arch


def test_the_program_of_the_page_runs(tmp_path):
    """It runs, and mypy --strict finds nothing in it."""
    (tmp_path / "bottleneck.yaml").write_text(SPACE)
    (tmp_path / "program.py").write_text(f"{BLOCK}\n\nif __name__ == '__main__':\n" + indented(PROGRAM))
    check = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--python-executable", sys.executable]
    checked = subprocess.run([*check, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    printed = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    macs, kinds = printed.stdout.split(maxsplit=1)
    assert int(macs) <= 400_000
    assert set(eval(kinds)) == {"bottleneck"}


def indented(text):
    return "".join(f"    {line}\n" for line in text.splitlines())


def test_commands_know_a_block_of_an_installed_package(tmp_path):
    """Installed as pip installs it: a package, and the metadata with its entry points."""
    installed = tmp_path / "site-packages"
    package, metadata = installed / "my_package", installed / "my_package-1.0.dist-info"
    for folder in (package, metadata):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bottleneck.py").write_text(BLOCK)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    assert ENTRY_POINT.startswith('[project.entry-points."tinynas.blocks"]\n')
    name, target = ENTRY_POINT.splitlines()[1].replace('"', "").split(" = ")
    (metadata / "entry_points.txt").write_text(f"[tinynas.blocks]\n{name} = {target}\n")
    block = "{kind: bottleneck, out: 8, mid: 4, kernel: 3}"
    (tmp_path / "arch.yaml").write_text(f"resolution: 8\nstem: {{out: 4}}\nstages:\n- - {block}\n")
    command = [sys.executable, "-m", "tinynas.cli", "cost", "arch.yaml", "--json"]
    env = os.environ | {"PYTHONPATH": f"{installed}{os.pathsep}{DOCS.parent}"}
    counted = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert json.loads(counted.stdout)["macs"] > 0
    env["PYTHONPATH"] = str(DOCS.parent)
    refused = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode
    assert "'bottleneck' in block 0 of stage 0 is not registered in this process (known: convnext," in refused.stderr


def test_files_of_a_kind_that_is_not_registered_are_not_called_damaged(bottleneck, data, tmp_path, monkeypatch):
    block = bottleneck(out=4, mid=2, kernel=3)
    arch = Arch(resolution=8, in_channels=1, classes=2, stem=Stem(out=2), stages=((block,),))
    save_model(tmp_path / "model.safetensors", model_of(arch))
    retraining = RetrainFolder(tmp_path)
    save_config(retraining.config, {"arch": arch.to_dict(), **asdict(RetrainConfig())})
    (tmp_path / "space.yaml").write_text(SPACE)
    monkeypatch.delitem(block_kinds._kinds, "bottleneck")
    readers = {
        "model.safetensors": read_model,
        "config.yaml": lambda path: read_retraining(retraining),
        "space.yaml": lambda path: space_for(data, SPACE, path),
    }
    for file, read in readers.items():
        with pytest.raises(FileError) as error:
            read(tmp_path / file)
        assert str(error.value).startswith(f"{tmp_path / file}: the kind of block 'bottleneck' in ")
        assert str(error.value).endswith("install the package that has it as an entry point of tinynas.blocks")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "conv-next"},
            r"'conv-next' in stage 0 is not registered in this process \(did you mean 'convnext'",
        ),
        ({"kind": ["vit"]}, "kind in stage 0 must be text"),
        ({"kind": "vit"}, "unknown key for vit in stage 0 'width'; known: depth, expand, heads"),
        ({"kind": "ds-conv", "expand": 2}, "unknown key for ds-conv in stage 0 'expand'"),
        ({"kind": "convnext"}, "stage 0 lacks the key 'expand'"),
    ],
)
def test_a_space_refuses_kinds_and_keys_that_do_not_exist(change, message):
    stage = {"width": 8, "kernel": 3} | change
    with pytest.raises(InputError, match=message):
        SearchSpace.from_dict({"resolution": 8, "stem": {"width": 4}, "stages": [stage]})


def test_a_kind_is_registered_once_and_right(bottleneck):
    class Other:
        pass

    with pytest.raises(InputError, match="the block 'other' must be a frozen dataclass that derives from"):
        block_kinds.block("other")(Other)
    namesake = type("Namesake", (bottleneck,), {})
    with pytest.raises(InputError, match="the name 'bottleneck' belongs to another kind of block, Bottleneck"):
        block_kinds.block("bottleneck")(namesake)


def broken(bottleneck, **methods):
    """The block of the page with other methods, as a kind of its own."""
    kind = dataclass(frozen=True, kw_only=True)(type("Broken", (bottleneck,), methods))
    return block_kinds.block("broken")(kind)


def lower_with(name="spatial", act="relu", extra=0):
    def lower(self, lowering, x, prefix):
        y = lowering.conv_norm(x, f"{prefix}.reduce", self.mid, act="relu")
        y = lowering.conv_norm(y, f"{prefix}.{name}", self.mid, kernel=self.kernel, stride=self.stride, act=act)
        y = lowering.conv_norm(y, f"{prefix}.expand", self.out + extra)
        return lowering.sum(y, x, f"{prefix}.add") if self.residual else y

    return lower


def lower_of_kernel_1(self, lowering, x, prefix):
    y = lowering.conv_norm(x, f"{prefix}.reduce", self.mid, act="relu")
    y = lowering.conv_norm(y, f"{prefix}.spatial", self.mid, stride=self.stride, act="relu")
    return lowering.conv_norm(y, f"{prefix}.expand", self.out)


def groups_of_another_layer(self, name, inputs, outputs):
    inputs.read_by(f"{name}.squeeze.conv")
    outputs.written_by(f"{name}.expand")
    return iter(())


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"lower": lower_with(name="spacial")}, "`lower` has the layer spacial.conv, which the module lacks"),
        ({"lower": lower_with(act="")}, "the outputs of `lower` and of the module differ, by up to"),
        ({"lower": lower_with(extra=1)}, r"`lower` returns \(17, 4, 4\), but by `out` and `stride` it is \(16, 4, 4\)"),
        ({"lower": lower_of_kernel_1}, "spatial.conv has 16 weights in `lower`, and 144 in the module"),
        (
            {"channel_groups": groups_of_another_layer},
            "`channel_groups` names squeeze.conv.weight, which",
        ),
    ],
)
def test_a_search_checks_that_a_block_of_ones_own_says_the_same_of_itself(bottleneck, methods, message):
    kind = broken(bottleneck, **methods)
    block = kind(out=16, mid=4, kernel=3, stride=2)
    arch = Arch(resolution=8, in_channels=1, stem=Stem(out=8, stride=1), stages=((block,),))
    if message is None:
        check_blocks(arch)
        return
    with pytest.raises(
        InputError, match=f"the block 'broken' contradicts itself: .*{message}.*; mend its class, Broken"
    ):
        check_blocks(arch)


def test_blocks_of_the_page_agree_with_themselves(bottleneck):
    for arch in (
        SearchSpace.from_dict(yaml.safe_load(SPACE)).min(),
        SearchSpace.from_dict(yaml.safe_load(SPACE)).max(),
    ):
        check_blocks(arch)
