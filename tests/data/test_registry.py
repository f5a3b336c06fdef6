import pytest

from tinynas.data.registry import load_data
from tinynas.utils.errors import FileError, InputError


def test_load_data_suggests_the_nearest_name():
    with pytest.raises(InputError, match="unknown data set 'fashion-mnits'; did you mean 'fashion-mnist'"):
        load_data("fashion-mnits")
    with pytest.raises(InputError, match="digits takes no path"):
        load_data("digits:/somewhere")


@pytest.mark.parametrize("name", ["scattered-digits", "scattered-fashion"])
def test_load_data_refuses_a_path_for_embedded_sets(name):
    with pytest.raises(InputError, match=rf"data set {name} takes no path, but got '/somewhere'"):
        load_data(f"{name}:/somewhere")


@pytest.mark.parametrize("name", ["voc", "coco"])
def test_load_data_needs_a_path_for_annotated_sets(name, tmp_path):
    with pytest.raises(InputError, match=f"{name} needs a path: {name}:PATH"):
        load_data(name)
    with pytest.raises(FileError, match=rf"there is no folder {tmp_path}/nothing"):
        load_data(f"{name}:{tmp_path}/nothing")
