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
from kinds import space_of

from helpers import images_for, model_of
from pages import DOCS, blocks_of
from tinynas import Arch, SearchSpace, Supernet, augment, cost, load_space
from tinynas.arch import block_kinds
from tinynas.arch.blocks import Block, Stem
from tinynas.arch.lowering import lower
from tinynas.arch.memory_plan import peak_bytes
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.retrain_folder import RetrainFolder
from tinynas.experiment.saved import read_retraining, save_config
from tinynas.models.layers import ConvNorm
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


def install(folder, source):
    """A package with a block in its source, as pip installs it: a package, and the metadata with its entry points."""
    package, metadata = folder / "my_package", folder / "my_package-1.0.dist-info"
    for made in (package, metadata):
        made.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bottleneck.py").write_text(source)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    assert ENTRY_POINT.startswith('[project.entry-points."tinynas.blocks"]\n')
    name, target = ENTRY_POINT.splitlines()[1].replace('"', "").split(" = ")
    (metadata / "entry_points.txt").write_text(f"[tinynas.blocks]\n{name} = {target}\n")


def cost_with(folder, *installed):
    """`tinynas cost` of a network of the block, with packages of these folders."""
    block = "{kind: bottleneck, out: 8, mid: 4, kernel: 3}"
    (folder / "arch.yaml").write_text(f"resolution: 8\nstem: {{out: 4}}\nstages:\n- - {block}\n")
    command = [sys.executable, "-m", "tinynas.cli", "cost", "arch.yaml", "--json"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*installed, DOCS.parent]))}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_commands_know_a_block_of_an_installed_package(tmp_path):
    install(tmp_path / "site-packages", BLOCK)
    assert json.loads(cost_with(tmp_path, tmp_path / "site-packages").stdout)["macs"] > 0
    refused = cost_with(tmp_path)
    assert refused.returncode
    assert "'bottleneck' in block 0 of stage 0 is not registered in this process (known: convnext," in refused.stderr


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            f"import nosuchthing\n{BLOCK}",
            "cannot be imported from its entry point my_package.bottleneck: ModuleNotFoundError: No module named "
            "'nosuchthing' ({file}:1); mend that package",
        ),
        (
            BLOCK.replace("self.mid, act", "self.mdi, act", 1),
            "the block 'bottleneck' failed in `lower`: AttributeError: 'Bottleneck' object has no attribute 'mdi' "
            "({file}:30); mend its class, Bottleneck",
        ),
    ],
)
def test_commands_say_in_one_line_where_the_code_of_an_installed_block_fails(tmp_path, wrong, message):
    install(tmp_path / "site-packages", wrong)
    failed = cost_with(tmp_path, tmp_path / "site-packages")
    assert (failed.returncode, len(failed.stderr.splitlines())) == (1, 1)
    file = tmp_path / "site-packages" / "my_package" / "bottleneck.py"
    assert message.format(file=file) in failed.stderr


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
    message = f"the block 'broken' contradicts itself: .*{message}.*; mend its class, Broken"
    with pytest.raises(InputError, match=message):
        check_blocks(arch)


def test_blocks_of_the_page_agree_with_themselves(bottleneck):
    space = SearchSpace.from_dict(yaml.safe_load(SPACE))
    for arch in (space.min(), space.max()):
        check_blocks(arch)


def misspelt(self, *arguments):
    raise NameError("no such name")


def of_unknown_activation(self, channels):
    return ConvNorm(channels, self.out, act="rleu")


def line_of(function, offset=1):
    return f"{__file__}:{function.__code__.co_firstlineno + offset}"


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"lower": misspelt}, f"failed in `lower`: NameError: no such name ({line_of(misspelt)})"),
        ({"module": misspelt}, f"failed in `module`: NameError: no such name ({line_of(misspelt)})"),
        ({"channel_groups": misspelt}, f"failed in `channel_groups`: NameError: no such name ({line_of(misspelt)})"),
        ({"check": misspelt}, f"failed in `check`: NameError: no such name ({line_of(misspelt)})"),
        ({"__post_init__": misspelt}, f"failed in `__post_init__`: NameError: no such name ({line_of(misspelt)})"),
        ({"lower": lambda self: None}, "failed in `lower`: TypeError: "),
        (
            {"lower": lower_with(act="rleu")},
            "failed in `lower`: InputError: unknown activation in act 'rleu'; did you mean 'relu'? "
            f"({line_of(lower_with(), 2)})",
        ),
        (
            {"module": of_unknown_activation},
            "failed in `module`: InputError: unknown activation in act 'rleu'; did you mean 'relu'? "
            f"({line_of(of_unknown_activation)})",
        ),
    ],
)
def test_exceptions_of_a_block_of_ones_own_are_one_line_that_says_where(bottleneck, methods, message):
    broken(bottleneck, __module__=__name__, **methods)
    stage = {"kind": "broken", "width": 16, "expand": 0.5, "kernel": 3}
    with pytest.raises(InputError) as error:
        check_blocks(SearchSpace.from_dict({"resolution": 8, "stem": {"width": 8}, "stages": [stage]}).min())
    assert f"the block 'broken' {message}" in str(error.value)
    assert str(error.value).endswith("; mend its class, Broken")


def test_values_that_a_block_of_ones_own_refuses_are_named_in_its_own_words(bottleneck):
    def check(self, channels):
        raise InputError("mid must be even")

    kind = broken(bottleneck, check=check)
    with pytest.raises(InputError, match=r"^mid must be even$"):
        Arch(resolution=8, stem=Stem(out=8), stages=((kind(out=16, mid=3, kernel=3),),))


def test_exceptions_of_shipped_blocks_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(InvertedResidual, "lower", misspelt)
    with pytest.raises(NameError, match=r"^no such name$"):
        lower(space_of("inverted-residual").sample(np.random.default_rng(0)))


def test_a_kind_that_lacks_a_method_is_refused(bottleneck):
    with pytest.raises(InputError, match="the block 'broken' lacks lower, as every block has; add it to its class"):
        broken(bottleneck, lower=Block.lower)
