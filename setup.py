"""List what is installed: all below tinynas/, and as parts of it the top-level cli/, recipes/ and search_spaces/.

If there is a C compiler, the kernels for training on a CPU are compiled as well.
"""

import platform
import runpy
from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

KERNELS = Path("tinynas", "kernels")

library = find_packages(include=["tinynas", "tinynas.*"])
beside = find_namespace_packages(include=["cli", "cli.*", "recipes", "recipes.*", "search_spaces", "search_spaces.*"])


class BuildWithKernels(build_py):
    """Copy the modules, and compile the kernels beside their sources."""

    def run(self) -> None:
        """Copy and compile. An editable installation copies nothing: its kernels are compiled at first use."""
        super().run()
        if not self.editable_mode:
            self.compile_kernels(Path(self.build_lib) / KERNELS)

    def compile_kernels(self, folder: Path) -> None:
        """Compile libraries for this machine's architecture into a folder. What fails is left out."""
        build = runpy.run_path(str(KERNELS / "build.py"))
        compiler = build["find_compiler"]()
        if compiler is None:
            self.warn("no C compiler was found, so the training kernels are not compiled")
            return
        for instruction_set in build["INSTALLED_SETS"].get(platform.machine().lower(), ()):
            try:
                build["compile_library"](compiler, instruction_set, folder)
            except (build["CompilationError"], OSError) as error:
                self.warn(f"the training kernels for {instruction_set} are not compiled: {error}")


class WheelWithKernels(bdist_wheel):
    """A wheel for any machine or, with compiled kernels, for machines of this platform; for any Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of Python, ABI and platform."""
        if any((Path(self.bdist_dir) / KERNELS).glob("*.so")):
            self.root_is_pure = False
        _, _, platform_tag = super().get_tag()
        return self.python_tag, "none", platform_tag


setup(
    packages=[*library, *(f"tinynas.{name}" for name in beside)],
    package_dir={f"tinynas.{name}": name for name in ("cli", "recipes", "search_spaces")},
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": WheelWithKernels},
)
