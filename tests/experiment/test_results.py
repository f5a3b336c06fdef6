import pytest

from tinynas.experiment.results import read_front
from tinynas.utils.errors import FileError


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"front": []}', '{"front": [{}], "best": 0, "space": "", "data": "", "limits": {}}']
)
def test_read_front_names_a_damaged_front(tmp_path, content):
    (tmp_path / "front.json").write_text(content)
    with pytest.raises(FileError, match=r"front\.json is damaged"):
        read_front(tmp_path)
