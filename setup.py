"""List what is installed: all below tinynas/, and the top-level folders cli/ and search_spaces/ as parts of it."""

from setuptools import find_namespace_packages, find_packages, setup

library = find_packages(include=["tinynas", "tinynas.*"])
beside = find_namespace_packages(include=["cli", "cli.*", "search_spaces", "search_spaces.*"])

setup(
    packages=[*library, *(f"tinynas.{name}" for name in beside)],
    package_dir={"tinynas.cli": "cli", "tinynas.search_spaces": "search_spaces"},
)
