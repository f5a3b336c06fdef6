"""Texts of packages: read from lists in apt's layout, one for each source package, and split by source package."""

import shutil
import subprocess

import pytest

MIRROR = "mirror.example_debian_dists_stable_main"
DESCRIPTIONS = """\
Package: nano
Description-md5: aa
Description-en: small, friendly text editor
 GNU nano is an easy-to-use editor.
 .
 It has:
  * colours.

Package: nano-tiny
Description-md5: bb
Description-en: small, friendly text editor - tiny build
 Without colours: it is small.

Package: libz1
Description-md5: cc
Description-en: compression library

"""
PACKAGES = """\
Package: nano
Version: 7.2-1
Depends: libc6 (>= 2.34),
 libz1
Description: small, friendly text editor
Description-md5: aa
Section: editors

Package: nano-tiny
Source: nano (7.2-1)
Description-md5: bb
Section: contrib/editors

Package: libz1
Source: zlib
Description-md5: cc
Section: libs

Package: unknown
Description-md5: dd
Section: editors

"""
NANO = "small, friendly text editor. GNU nano is an easy-to-use editor. It has: * colours."
TINY = "small, friendly text editor - tiny build. Without colours: it is small."


@pytest.fixture
def lists(tmp_path):
    """A folder of apt's lists."""
    (tmp_path / f"{MIRROR}_i18n_Translation-en").write_text(DESCRIPTIONS)
    (tmp_path / f"{MIRROR}_binary-amd64_Packages").write_text(PACKAGES)
    (tmp_path / "mirror.example_debian_dists_stable_InRelease").write_text("Suite: stable\n")
    (tmp_path / "lock").touch()
    return tmp_path


def write_many(folder, *, sections, sources):
    """Write lists of so many source packages in each section, each with two packages."""
    descriptions, packages = [], []
    for section in sections:
        for number in range(sources):
            for kind in ("tool", "data"):
                name = f"{section}{number}-{kind}"
                descriptions.append(f"Package: {name}\nDescription-md5: {name}\nDescription-en: {kind} of {name}\n")
                source = f"Source: {section}{number}\n"
                packages.append(f"Package: {name}\n{source}Description-md5: {name}\nSection: {section}\n")
    (folder / f"{MIRROR}_i18n_Translation-en").write_text("\n".join(descriptions))
    (folder / f"{MIRROR}_binary-amd64_Packages").write_text("\n".join(packages))


def test_descriptions_have_section_and_source_of_their_package(lists):
    from common.package_texts import PackageText, read_package_texts

    expected = [("editors", "nano", NANO), ("editors", "nano", TINY), ("libs", "zlib", "compression library.")]
    assert read_package_texts(lists) == [PackageText(*fields) for fields in expected]


@pytest.mark.skipif(shutil.which("lz4") is None, reason="lz4 is not installed")
def test_compressed_lists_are_read_as_plain_ones(lists):
    from common.package_texts import APT_HELPER, read_package_texts

    if shutil.which(APT_HELPER) is None:
        pytest.skip("apt is not installed")
    plain = read_package_texts(lists)
    for path in lists.glob("*_main_*"):
        subprocess.run(["lz4", "-q", "--rm", path, f"{path}.lz4"], check=True)
    assert read_package_texts(lists) == plain


def test_texts_are_of_one_package_of_a_source_and_not_of_libraries(lists):
    from common.package_texts import one_per_source, read_package_texts

    entries = read_package_texts(lists)
    assert [entry.text for entry in one_per_source(entries + entries)] == [TINY]


def test_missing_descriptions_are_one_line_that_names_the_command(tmp_path):
    from common.package_texts import read_package_texts

    (tmp_path / f"{MIRROR}_binary-amd64_Packages").write_text(PACKAGES)
    with pytest.raises(SystemExit, match=r"has no descriptions .* apt-get update -o Acquire::Languages=en$"):
        read_package_texts(tmp_path)


def test_splits_share_no_source_and_small_sections_are_no_class(tmp_path, monkeypatch):
    import common.package_texts

    monkeypatch.setattr(common.package_texts, "MIN_SOURCES", 100)
    monkeypatch.setattr(common.package_texts, "MAX_TEXTS", 150)
    write_many(tmp_path, sections=("mail", "sound"), sources=200)
    packages = tmp_path / f"{MIRROR}_binary-amd64_Packages"
    packages.write_text(packages.read_text().replace("Source: mail", "Source: sound"))  # each in both sections
    data = common.package_texts.load_package_texts(tmp_path)
    assert data.classes == ["mail", "sound"]
    sources = [{text.split()[-1].strip("mailsound.").split("-")[0] for text in split.texts} for split in data[1:]]
    assert len(set().union(*sources)) == 150 == sum(map(len, sources))
    for split, names in zip(data[1:], sources, strict=True):
        assert [split.labels.count(label) for label in (0, 1)] == [len(names)] * 2
    for held_out in sources[1:]:
        assert 15 <= len(held_out) <= 45

    monkeypatch.setattr(common.package_texts, "MIN_SOURCES", 201)
    assert common.package_texts.load_package_texts(tmp_path).classes == []
