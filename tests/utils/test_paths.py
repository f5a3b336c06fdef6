from tinynas.utils.paths import missing_folder


def test_missing_folder_is_an_error_that_names_what_is_near(tmp_path):
    assert str(missing_folder("run", tmp_path / "runs" / "a", "front.json")) == (
        f"there is no run folder {tmp_path / 'runs' / 'a'}; beside it: none"
    )
    for name in ("first", "second", "third", "tenth"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "front.json").touch()
    (tmp_path / "fist0").mkdir()
    assert str(missing_folder("run", tmp_path / "fist", "front.json")).endswith(f"; did you mean {tmp_path / 'first'}?")
    assert str(missing_folder("run", tmp_path / "xyz", "front.json")).endswith(
        "; beside it: first, second, tenth and 1 more"
    )
