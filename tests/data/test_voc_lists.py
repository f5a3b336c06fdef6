import unicodedata

import pytest

from boxes import voc_xml
from tinynas.data.pixel_boxes import AnnotatedObject
from tinynas.data.voc_lists import listed_images
from tinynas.utils.errors import FileError

COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "Müll"), unicodedata.normalize("NFD", "Müll")


def voc_files(folder, images, annotations, lines):
    """A folder with empty images, annotations {name: its <filename>} and a list, which may be bytes."""
    for name in images:
        file = folder / "JPEGImages" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for name, filename in annotations.items():
        file = folder / "Annotations" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        content = voc_xml([("dog", 1, 1, 9, 9, 0)])
        file.write_bytes(content.replace(b"<size>", f"<filename>{filename}</filename><size>".encode()))
    if lines is not None:
        file = folder / "ImageSets" / "Main" / "train.txt"
        file.parent.mkdir(parents=True)
        file.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    return folder


@pytest.mark.parametrize(
    ("images", "annotations", "lines", "expected"),
    [
        # any format that is read
        (["a.jpg"], {"a.xml": "a.jpg"}, "a", "a.jpg"),
        (["a.JPG"], {"a.xml": "a.jpg"}, "a", "a.JPG"),
        (["a.png", "a.txt"], {"a.xml": "a.jpg"}, "a", "a.png"),
        (["a.b.webp"], {"a.b.xml": ""}, "a.b", "a.b.webp"),
        (["a.jpg"], {"a.XML": ""}, "a", "a.jpg"),
        (["a.jpg", "._a.png"], {"a.xml": "", "._a.xml": ""}, "a", "a.jpg"),
        # what a line can be
        (["a.jpg"], {"a.xml": ""}, "a.jpg", "a.jpg"),
        (["a.png"], {"a.xml": ""}, "a.jpg", "a.png"),
        (["a.jpg"], {"a.xml": ""}, "a.xml", "a.jpg"),
        (["a.jpg"], {"a.jpg.xml": ""}, "a.jpg", "a.jpg"),
        (["a.jpg"], {"a.xml": ""}, "JPEGImages/a.jpg", "a.jpg"),
        (["a.jpg"], {"a.xml": ""}, "C:\\Users\\me\\set\\JPEGImages\\a.jpg", "a.jpg"),
        (["a.jpg"], {"a.xml": ""}, "./a", "a.jpg"),
        (["cat/1.jpg", "dog/1.jpg"], {"cat/1.xml": "", "dog/1.xml": ""}, "dog/1", "dog/1.jpg"),
        (["my photo.jpg"], {"my photo.xml": ""}, "my photo", "my photo.jpg"),
        (["my photo.jpg"], {"my photo.xml": ""}, '"my photo"', "my photo.jpg"),
        (["my photo.jpg"], {"my photo.xml": ""}, '"my photo" -1', "my photo.jpg"),
        (["my photo 1.jpg"], {"my photo 1.xml": ""}, "my photo 1", "my photo 1.jpg"),
        (["cat 1.jpg", "cat.jpg"], {"cat 1.xml": "", "cat.xml": ""}, "cat 1", "cat 1.jpg"),
        (["a.jpg"], {"a.xml": ""}, "a  -1", "a.jpg"),
        (["a.jpg"], {"a.xml": ""}, "a  1", "a.jpg"),
        (["a.jpg"], {"a.xml": ""}, "a 0", "a.jpg"),
        ([f"{DECOMPOSED}.jpg"], {f"{DECOMPOSED}.xml": ""}, COMPOSED, f"{DECOMPOSED}.jpg"),
        ([f"{COMPOSED}.jpg"], {f"{COMPOSED}.xml": ""}, DECOMPOSED, f"{COMPOSED}.jpg"),
        # how a list can be stored
        (["a.jpg"], {"a.xml": ""}, b"\xef\xbb\xbfa\r\n\r\n  \r\n", "a.jpg"),
        (["a.jpg"], {"a.xml": ""}, "\ufeffa\r\n".encode("utf-16-le"), "a.jpg"),
        (["a.jpg"], {"a.xml": ""}, "a\na\n\na.jpg\na -1\n", "a.jpg"),
        # the name that the annotation has for the image
        (["photo.jpg"], {"1.xml": "photo.jpg"}, "1", "photo.jpg"),
        (["photo.png"], {"1.xml": "C:\\photos\\photo.jpg"}, "1", "photo.png"),
        (["a.jpg", "b.jpg"], {"a.xml": "b.jpg"}, "a", "a.jpg"),  # outdated
        (["a.jpg", "a.png"], {"a.xml": "a.png"}, "a", "a.png"),
        (["a.jpg", "a.png"], {"a.xml": "folder/a.jpg"}, "a", "a.jpg"),
        (["a.jpg", "a.png"], {"a.xml": ""}, "a.png", "a.png"),
    ],
)
def test_lists_name_images_as_tools_write_them(tmp_path, images, annotations, lines, expected):
    folder = voc_files(tmp_path, images, annotations, lines)
    (listed,) = listed_images(folder, "train")
    assert listed.image == str(folder / "JPEGImages" / expected)
    assert listed.annotation.objects == [AnnotatedObject("dog", (1, 1, 9, 9))]


@pytest.mark.parametrize(
    ("images", "annotations", "lines", "message"),
    [
        (
            ["a.png", "b.png", "c.png"],
            {"d.xml": ""},
            "a\nd\nmy photo 1\nd.jpg",
            "{lists}/train.txt: 3 of its 4 images are missing (d, my photo 1, d.jpg); {images} has 3 files: a.png, "
            "b.png, c.png; add them, or correct the list",
        ),
        (
            ["a.heic", "b.heic", "c"],
            {"a.xml": ""},
            "a",
            "{lists}/train.txt: 1 of its 1 images are missing (a); {images} has none, but 3 files "
            "whose ending is not read: .heic (2), no ending (1); add them, or correct the list",
        ),
        (
            ["b.jpg"],
            {"a.xml": "b.jpg", "b.xml": "b.jpg"},  # b.jpg has an annotation of its own
            "a\nb",
            "{lists}/train.txt: 1 of its 2 images are missing (a); {images} has 1 file: b.jpg; add them, or correct "
            "the list",
        ),
        (
            ["a.jpg", "b.jpg"],
            {"b.xml": ""},
            "a\nb",
            "{lists}/train.txt: 1 of its 2 images have no annotation (a); {annotations} has 1 file: b.xml; add them, "
            "or correct the list",
        ),
        (
            ["a.jpg", "a.png"],
            {"a.xml": "other.jpg"},
            "a",
            "{images} has 2 images of one name (a.jpg, a.png); remove all but one, or write their endings into the "
            "list",
        ),
        (
            ["a.jpg"],
            {"a.xml": ""},
            None,
            "{folder} has no ImageSets/Main/trainval.txt or ImageSets/Main/train.txt; {folder} has Annotations, "
            "JPEGImages; write the names of the images into such a list, one in a line",
        ),
        (
            ["a.jpg"],
            {"a.xml": ""},
            b"a\xff\n",
            "{lists}/train.txt is not a text file in UTF-8; restore it, or save it in UTF-8",
        ),
        (
            ["a.jpg"],
            {"a.xml": ""},
            "a\x1b[0m\x00",
            "{lists}/train.txt: 1 of its 1 images are missing ('a\\x1b[0m\\x00'); {images} has 1 file: a.jpg; add "
            "them, or correct the list",
        ),
    ],
)
def test_lists_name_what_is_missing_and_what_is_there(tmp_path, images, annotations, lines, message):
    folder = voc_files(tmp_path, images, annotations, lines)
    with pytest.raises(FileError) as error:
        listed_images(folder, "trainval", "train")
    assert str(error.value) == message.format(
        folder=folder,
        images=folder / "JPEGImages",
        annotations=folder / "Annotations",
        lists=folder / "ImageSets" / "Main",
    )


def test_lists_of_other_names_are_named(tmp_path):
    folder = voc_files(tmp_path, ["a.jpg"], {"a.xml": ""}, "a")
    (folder / "ImageSets" / "Main" / "train.txt").rename(folder / "ImageSets" / "Main" / "all.txt")
    with pytest.raises(FileError, match=r"has no ImageSets/Main/test.txt; .*/ImageSets/Main has all.txt; write"):
        listed_images(folder, "test")
