from pathlib import Path

from tinynas.utils import fonts
from tinynas.utils.fonts import BOLD, REGULAR, Run, family_of, font_file, font_runs, is_drawable, undrawable


def test_font_runs_take_the_preferred_font_where_they_can():
    assert font_runs("cat 0.91") == [Run("cat 0.91", font_file(REGULAR))]
    assert font_runs("кошка ±", BOLD) == [Run("кошка ±", font_file(BOLD))]
    assert font_runs("") == []


def test_font_runs_take_installed_fonts_for_what_the_preferred_one_lacks(install_fonts):
    """Upright sans-serif fonts first, whatever else has the character."""
    slanted, serif, sans = install_fonts(SansOblique="圆方块", CjkSerif="圆方块", NotoSans="圆方")
    bold = font_file(BOLD)
    assert font_runs("圆方 0.91", BOLD) == [Run("圆方", sans), Run(" 0.91", bold)]
    assert font_runs("a块b圆", BOLD) == [Run("a", bold), Run("块", serif), Run("b", bold), Run("圆", sans)]
    assert is_drawable("a块b圆")
    sans.unlink()
    serif.write_bytes(b"no font")
    fonts._characters.cache_clear()
    assert font_runs("圆", BOLD) == [Run("圆", slanted)]


def test_font_runs_escape_what_no_font_has(install_fonts):
    install_fonts(Round="圆")
    assert "".join(run.text for run in font_runs("a 圆方 ± 🦆\n")) == r"a 圆\u65b9 ± \U0001f986\n"
    assert [is_drawable(text) for text in ("a 圆", "圆方", "two\nlines")] == [True, False, False]
    assert undrawable(["cat", "圆方", "圆", "圆方"]) == ["圆方"]
    assert undrawable(["two\nlines", "\x1b[31m", "caf\udce9", "方\n"]) == ["方\n"], "control characters are in no font"


def test_no_font_of_boxes_is_taken(install_fonts):
    """matplotlib has a font that draws each character as a box with its range."""
    install_fonts()
    boxes = font_file("LastResortHE-Regular.ttf")
    assert boxes.exists()
    assert not fonts._characters(Path(boxes))


def test_family_of_makes_a_file_known_to_matplotlib(install_fonts):
    from matplotlib.font_manager import findfont

    (path,) = install_fonts(FamilyOfSquares="圆")
    assert family_of(path) == family_of(path) == "FamilyOfSquares"
    assert findfont("FamilyOfSquares") == str(path)
