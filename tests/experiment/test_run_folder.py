import pytest

from tinynas.experiment.early_exit_folder import EarlyExitFolder
from tinynas.experiment.run_folder import RunFolder
from tinynas.utils.errors import FileError


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"front": []}', '{"front": [{}], "best": 0, "space": "", "data": "", "limits": {}}']
)
def test_read_front_names_a_damaged_front(tmp_path, content):
    (tmp_path / "front.json").write_text(content)
    with pytest.raises(FileError, match=r"front\.json is damaged"):
        RunFolder(tmp_path).read_front()


def test_early_exits_are_those_with_a_report(tmp_path):
    retraining = RunFolder(tmp_path).retraining("plain")
    for name in ("sidenet-2", "cascade"):
        folder = EarlyExitFolder(retraining.path / name)
        folder.path.mkdir(parents=True)
        folder.report.touch()
    (retraining.path / "tensorboard").mkdir()
    assert [folder.name for folder in retraining.early_exits()] == ["cascade", "sidenet-2"]
