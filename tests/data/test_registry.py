from pathlib import Path

import pytest

from tinynas.data.registry import DATA_SETS, load_data
from tinynas.utils.errors import FileError, InputError


def test_load_data_suggests_the_nearest_name():
    with pytest.raises(InputError, match="unknown data set 'fashion-mnits'; did you mean 'fashion-mnist'"):
        load_data("fashion-mnits")
    with pytest.raises(InputError, match="digits takes no path"):
        load_data("digits:/somewhere")
    for name in ("", ":pictures"):
        with pytest.raises(
            InputError, match=f"the name of the data set is empty in '{name}'; pass one, such as digits"
        ):
            load_data(name)


def test_register_data_set_makes_it_loadable_by_name_and_path(data, monkeypatch):
    from tinynas.data import registry

    monkeypatch.setattr(registry, "DATA_SETS", dict(registry.DATA_SETS))
    paths = []

    def load(path):
        paths.append(path)
        return data

    registry.register_data_set("striped", load)
    assert load_data("striped") is data
    assert load_data("striped:/somewhere") is data
    assert paths == [None, Path("/somewhere")]
    with pytest.raises(InputError, match="unknown data set 'stripes'; did you mean 'striped'"):
        load_data("stripes")
    registry.register_data_set("digits", load)
    assert load_data("digits") is data


def test_load_data_calls_a_loader_once_without_a_path_and_every_time_with_a_path(data, monkeypatch):
    paths = []

    def load(path):
        paths.append(path)
        return data

    monkeypatch.setitem(DATA_SETS, "striped", load)
    for name in ("striped", "striped:/a", "striped", "striped:/a"):
        assert load_data(name) is data
    assert paths == [None, Path("/a"), Path("/a")]


@pytest.mark.parametrize("name", ["", "striped:grey"])
def test_register_data_set_refuses_a_name_that_cannot_be_loaded(name):
    from tinynas.data.registry import register_data_set

    with pytest.raises(InputError, match="the name of a data set must"):
        register_data_set(name, lambda path: None)


@pytest.mark.parametrize("name", ["scattered-digits", "scattered-fashion"])
def test_load_data_refuses_a_path_for_embedded_sets(name):
    with pytest.raises(InputError, match=rf"data set {name} takes no path, but got '/somewhere'"):
        load_data(f"{name}:/somewhere")


@pytest.mark.parametrize("name", ["voc", "coco", "yolo"])
def test_load_data_needs_a_path_for_annotated_sets(name, tmp_path):
    with pytest.raises(InputError, match=f"{name} needs a path: {name}:PATH"):
        load_data(name)
    with pytest.raises(FileError, match=rf"there is no folder {tmp_path}/nothing"):
        load_data(f"{name}:{tmp_path}/nothing")


KINDS = {
    "annotations/x.json": "coco",
    "annotations": "coco",
    "train/_annotations.coco.json": "coco",
    "annotations/x.xml": "voc",
    "Annotations/x.xml": "voc",
    "train/x.xml": "voc",
    "x.xml": "voc",
    "ImageSets": "voc",
    "VOCdevkit": "voc",
    "data.yaml": "yolo",
    "images labels": "yolo",
    "train/images train/labels": "yolo",
    "labels": "imagefolder",
    "train": "imagefolder",
}


@pytest.mark.parametrize("entries", KINDS)
def test_folder_without_its_kind_is_an_error_that_names_it(tmp_path, entries):
    for entry in entries.split():
        path = tmp_path / "set" / entry
        (path.parent if path.suffix else path).mkdir(parents=True)
        if path.suffix:
            path.write_text("train: x")
    with pytest.raises(InputError, match=f"name the kind of data set as well: {KINDS[entries]}:{tmp_path}/set$"):
        load_data(str(tmp_path / "set"))


def test_yaml_file_without_its_kind_is_an_error_that_names_it(tmp_path):
    file = tmp_path / "pets.yaml"
    file.write_text("train: x")
    with pytest.raises(InputError, match=f"is a file; name the kind of data set as well: yolo:{file}$"):
        load_data(str(file))
    file.write_text("x: train")
    with pytest.raises(InputError, match="unknown data set"):
        load_data(str(file))
