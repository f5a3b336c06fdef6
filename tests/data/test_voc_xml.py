import pytest

from tinynas.data.objects import DIFFICULT, OBJECT
from tinynas.data.voc_xml import read_annotation
from tinynas.utils.errors import FileError

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>4</ymax></bndbox>"
DOG = f"<object><name>dog</name>{BOX}</object>"
SIZE = "<size><width>40</width><height>20</height></size>"
BOMB = "".join(["<!DOCTYPE a [<!ENTITY x0 'ha'>", *(f"<!ENTITY x{i + 1} '{f'&x{i};' * 10}'>" for i in range(9)), "]>"])


def document(content):
    return f"<annotation>{content}</annotation>"


def box_of(xmin):
    return DOG.replace("<xmin>1</xmin>", xmin)


@pytest.mark.parametrize(
    ("content", "size", "objects", "difficult"),
    [
        (document(SIZE + DOG), (40, 20), [("dog", (1, 2, 30, 4))], 0),
        (document(SIZE), (40, 20), [], 0),
        (document(""), None, [], 0),
        # sizes
        (document("<size><width>0</width><height>0</height><depth>3</depth></size>"), None, [], 0),
        (document("<size><width>40</width><height/></size>"), None, [], 0),
        (document("<size><width> 40.0\n</width><height>2e1</height></size>"), (40, 20), [], 0),
        # objects
        (document(DOG.replace("dog", "\n  dog ")), None, [("dog", (1, 2, 30, 4))], 0),
        (document(DOG.replace("dog", "guide\n dog")), None, [("guide dog", (1, 2, 30, 4))], 0),
        (document(DOG.replace("dog", "柴犬")), None, [("柴犬", (1, 2, 30, 4))], 0),
        (document(DOG.replace("dog", "Q &amp; A")), None, [("Q & A", (1, 2, 30, 4))], 0),
        (document(box_of("<xmin>1.25</xmin>")), None, [("dog", (1.25, 2, 30, 4))], 0),
        (document(DOG.replace("<bndbox>", "<difficult>1</difficult><bndbox>")), None, [("dog", (1, 2, 30, 4))], 1),
        (document(DOG.replace("<bndbox>", "<difficult> </difficult><bndbox>")), None, [("dog", (1, 2, 30, 4))], 0),
        (document(DOG.replace("</object>", f"<part><name>head</name>{BOX}</part></object>") * 2), None, "two dogs", 0),
        # encodings
        (b"\xef\xbb\xbf" + document(DOG).encode(), None, [("dog", (1, 2, 30, 4))], 0),
        (
            ('<?xml version="1.0" encoding="utf-16"?>\r\n' + document(DOG)).encode("utf-16"),
            None,
            [("dog", (1, 2, 30, 4))],
            0,
        ),
        (
            ('<?xml version="1.0" encoding="iso-8859-1"?>' + document(DOG.replace("dog", "Bär"))).encode("latin-1"),
            None,
            [("Bär", (1, 2, 30, 4))],
            0,
        ),
        ('<?xml version="1.0"?>\r\n' + document(DOG.replace("><", ">\r\n\t<")), None, [("dog", (1, 2, 30, 4))], 0),
        ("<!DOCTYPE annotation>" + document(DOG), None, [("dog", (1, 2, 30, 4))], 0),
    ],
)
def test_annotations_are_read_as_tools_write_them(tmp_path, content, size, objects, difficult):
    file = tmp_path / "a.xml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    annotation = read_annotation(file)
    expected = [("dog", (1, 2, 30, 4))] * 2 if objects == "two dogs" else objects
    kind = DIFFICULT if difficult else OBJECT
    assert annotation.size == size
    assert annotation.objects == [(name, box, None, kind) for name, box in expected]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty or not XML: no element found: line 1, column 0; restore it"),
        ("{}", "is empty or not XML: "),
        (document(DOG)[:-5], "is empty or not XML: unclosed token: "),
        (document(DOG.replace("dog", "&dog;")), "is empty or not XML: undefined entity"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "is empty or not XML: unknown encoding: klingon; restore it"),
        (BOMB + document("<x>&x9;</x>"), "defines entities, which no annotation needs; remove them"),
        ("<kml/>", "is not an annotation of VOC's: it begins with <kml> instead of <annotation>; fix the file"),
        (document(DOG.replace("dog", " ")), "is not an annotation of VOC's: <object> without name; fix the file"),
        (document("<object><name>dog</name></object>"), "is not an annotation of VOC's: <object> without bndbox"),
        (document(box_of("<xmin/>")), "is not an annotation of VOC's: <object> without bndbox/xmin; fix the file"),
        (document(box_of("<xmin>nan</xmin>")), "is not an annotation of VOC's: 'nan' is not a number; fix the file"),
        (document(box_of("<xmin>1e999</xmin>")), "is not an annotation of VOC's: '1e999' is not a number; "),
        (
            document(box_of("<xmin>on\ne</xmin>")),
            "is not an annotation of VOC's: 'on e' is not a number; fix the file",
        ),
        (
            document("<size><width>-4</width><height>2</height></size>"),
            "is not an annotation of VOC's: its size is -4x2; fix the file",
        ),
        (
            document("<size><width>wide</width><height>2</height></size>"),
            "is not an annotation of VOC's: 'wide' is not a number; fix the file",
        ),
        (
            document(DOG.replace("<bndbox>", "<difficult>yes</difficult><bndbox>")),
            "is not an annotation of VOC's: 'yes' is not a number; fix the file",
        ),
    ],
)
def test_damaged_annotations_are_named(tmp_path, content, problem):
    file = tmp_path / "a.xml"
    file.write_text(content)
    with pytest.raises(FileError) as error:
        read_annotation(file)
    assert str(error.value).startswith(f"{file} {problem}")
    assert "\n" not in str(error.value)


def test_entities_are_refused_in_any_encoding(tmp_path):
    file = tmp_path / "a.xml"
    file.write_bytes(('<?xml version="1.0" encoding="utf-16"?>' + BOMB + document("&x9;")).encode("utf-16"))
    with pytest.raises(FileError, match="defines entities"):
        read_annotation(file)
