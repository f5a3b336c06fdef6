"""Draw the package picture of docs/architecture.md from the code: floors, purposes and modules.

python docs/scripts/packages.py      # writes docs/assets/packages.svg
"""

import ast
import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "tinynas"
PICTURE = ROOT / "docs" / "assets" / "packages.svg"

WIDTH, MARGIN, GAP = 1000, 20, 12
LINE, PADDING = 17, 12
CHARACTER = 7.0  # average width of one, in pixels
COLOURS = {True: ("#e8f1fb", "#2f6db5"), False: ("#f4f4f4", "#8a8a8a")}  # fill and stroke, by whether it needs torch


@dataclass(frozen=True, kw_only=True)
class Box:
    """A package in the picture."""

    name: str
    purpose: str
    modules: list[str]
    torch: bool

    def lines(self, width: float) -> list[tuple[str, str]]:
        """Return (CSS class, text) of every line that fits the width."""
        columns = int((width - 2 * PADDING) / CHARACTER)
        lines = [("name", f"{self.name}/")]
        lines += [("purpose", line) for line in textwrap.wrap(self.purpose, columns)]
        lines += [("modules", line) for line in textwrap.wrap(", ".join(self.modules), columns)]
        return lines


def packages() -> list[Box]:
    """Return the packages below tinynas/, in alphabetical order."""
    boxes = []
    for folder in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        purpose = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
        boxes.append(
            Box(
                name=folder.name,
                purpose=purpose.replace(" No torch.", "").rstrip("."),
                modules=modules,
                torch="No torch." not in purpose and folder.name != "utils",
            )
        )
    return boxes


def imported_packages(name: str) -> set[str]:
    """Return the other packages of tinynas that the modules of a package import."""
    imported = set()
    for path in (PACKAGE / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module:
                imported.add(node.module.split(".")[0])
    return imported - {name}


def floors(names: list[str]) -> list[list[str]]:
    """Return the packages by floor, the lowest first: each stands directly above the highest that it imports."""
    height: dict[str, int] = {}

    def floor_of(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((floor_of(other) for other in imported_packages(name)), default=-1)
        return height[name]

    rows: list[list[str]] = [[] for _ in range(1 + max(map(floor_of, names)))]
    for name in names:
        rows[height[name]].append(name)
    return rows


def draw() -> str:
    """Return the picture as SVG."""
    boxes = {box.name: box for box in packages()}
    top = Box(name="cli", purpose="Parse, call a pipeline, show the result", modules=modules_of("cli"), torch=False)
    rows = [[top], *([boxes[name] for name in row] for row in reversed(floors(list(boxes))))]
    parts, y = [], float(MARGIN)
    for row in rows:
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        height = 2 * PADDING + LINE * max(len(box.lines(width)) for box in row)
        for number, box in enumerate(row):
            parts.append(draw_box(box, MARGIN + number * (width + GAP), y, width, height))
        y += height + GAP
    parts.append(draw_legend(y + LINE))
    return SVG.format(width=WIDTH, height=round(y + 2 * LINE + MARGIN), content="\n".join(parts))


def modules_of(folder: str) -> list[str]:
    """Return the names of the modules of a folder at the repository's top, and of the packages in it."""
    modules = [path.stem for path in (ROOT / folder).glob("*.py") if not path.stem.startswith("__")]
    return sorted(modules + [path.parent.name for path in (ROOT / folder).glob("*/__init__.py")])


def draw_box(box: Box, x: float, y: float, width: float, height: float) -> str:
    """Return a box with its text as SVG."""
    fill, stroke = COLOURS[box.torch]
    parts = [
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" fill="{fill}" '
        f'stroke="{stroke}"/>'
    ]
    for number, (kind, text) in enumerate(box.lines(width), 1):
        baseline = y + PADDING + number * LINE - 4
        parts.append(f'<text class="{kind}" x="{x + PADDING:.1f}" y="{baseline:.1f}">{escape(text)}</text>')
    return "\n".join(parts)


def draw_legend(y: float) -> str:
    """Return the picture's last line."""
    text = "Imports go down only; packages side by side do not import each other. Blue: imports torch. Grey: does not."
    return f'<text class="purpose" x="{MARGIN}" y="{y:.1f}">{escape(text)}</text>'


SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<style>
text {{ font-family: system-ui, sans-serif; font-size: 13px; fill: #222 }}
.name {{ font-weight: bold; font-size: 15px }}
.modules {{ fill: #666; font-size: 12px }}
</style>
<rect width="100%" height="100%" fill="#fff"/>
{content}
</svg>
"""

if __name__ == "__main__":
    PICTURE.write_text(draw())
