import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tinynas.utils.markdown import escaped, replace_section, table

READER = MarkdownIt("commonmark").enable("table").enable("strikethrough")
NAMES = ["<script>", "a: b | c", "a\\|b", "`x`", "*a*", "_a_", "~~a~~", "[a](b)", "&amp;", "---", "# a", "1. a", "$a$"]


def cells_of(markdown):
    """The text of the cells of the only table, each of which must be nothing but text."""
    cells = []
    for token in READER.parse(markdown):
        if token.type == "inline":
            assert {child.type for child in token.children} <= {"text", "text_special"}, token.content
            cells.append("".join(child.content for child in token.children))
    return cells


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_in_tables_as_they_are(name):
    assert cells_of(table([{"class": escaped(name), "%": "1"}])) == ["class", "%", name, "1"]


def test_names_of_several_lines_are_one_line():
    assert escaped("two\nlines") == "two\\\\nlines"


@given(st.text(alphabet="ab<>&|`*_[]()!~$\\#-.: 1é中", min_size=1).map(str.strip).filter(bool))
def test_any_name_is_shown_as_it_is(name):
    assert cells_of(table([{"x": "1", "class": escaped(name)}]))[3] == name


def test_section_is_added_once_and_then_replaced():
    page = replace_section("# title\n", "files", "first")
    assert page == "# title\n\n<!-- begin:files -->\n\nfirst\n\n<!-- end:files -->\n"
    changed = replace_section(page + "\nafter\n", "files", "second")
    assert changed == page.replace("first", "second") + "\nafter\n"
