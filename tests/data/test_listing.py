from collections import Counter

from tinynas.data.listing import describe_files, list_files


def test_files_are_listed_by_ending_without_hidden_ones(tmp_path):
    names = (
        "b.JPG",
        "a.png",
        "sub/deep/c.jpg",
        "notes.txt",
        "README",
        "x.txt",
        ".a.jpg",
        "__MACOSX/a.jpg",
        ".git/b.jpg",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)  # leads back
    listing = list_files(tmp_path, {".jpg", ".png"})
    assert listing.files == [str(tmp_path / name) for name in ("a.png", "b.JPG", "sub/deep/c.jpg")]
    assert listing.other == Counter({".txt": 2, "": 1})
    assert listing.hidden == 3
    assert describe_files(tmp_path, {".jpg", ".png"}) == f"{tmp_path} has 3 files: a.png, b.JPG, sub/deep/c.jpg"
    assert describe_files(tmp_path / "sub" / "deep", {".png"}).endswith(
        "has none, but 1 file whose ending is not read: .jpg (1)"
    )
    assert describe_files(tmp_path / "missing", {".png"}) == f"{tmp_path / 'missing'} has none"
