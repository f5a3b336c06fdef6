"""Tables of published recipes, every field beside the authors' and the file of their code that has it, as Markdown."""

from collections.abc import Mapping, Sequence

from tinynas.experiment.authors import RESOLUTION, ComparedField, compare_with_authors
from tinynas.experiment.published import Figures, read_published
from tinynas.experiment.recipes import load_recipe, shipped_recipes
from tinynas.experiment.reproduction import METHODS
from tinynas.pipelines.planning import default_config

Column = Mapping[str, ComparedField]  # a field, by recipe


def tables(prefix: str) -> str:
    """Return the tables of the recipes whose names begin with a prefix: what they share, and what differs by recipe."""
    names = [name for name in shipped_recipes() if name.startswith(prefix)]
    shared: list[Column] = []
    by_recipe: list[Column] = []
    for column in columns(names):
        values = {(field.here, field.authors) for field in column.values()}
        if len(values) == 1 and len(column) == len(names):
            shared.append(column)
        else:
            by_recipe.append(column)
    return f"{shared_table(shared)}\n\n{table_by_recipe(names, by_recipe)}"


def columns(names: Sequence[str]) -> list[Column]:
    """Return the fields of recipes that their authors' code has, in the order in which they are compared."""
    by_name: dict[str, dict[str, ComparedField]] = {}
    for name in names:
        recipe = load_recipe(name)
        config = default_config(recipe.arch, "DATA", netaug=bool(recipe.overrides.get("netaug")))
        for field in compare_with_authors(recipe.arch, recipe.overrides.apply(config), recipe.authors):
            if field.differs is not None:
                by_name.setdefault(field.name, {})[name] = field
    return list(by_name.values())


def shared_table(shared: Sequence[Column]) -> str:
    """Return the table of fields that are the same for all recipes."""
    lines = ["| field | here | authors' | in their code | |", "|---|---|---|---|---|"]
    for column in shared:
        field = next(iter(column.values()))
        written = " or ".join(dict.fromkeys(other.written for other in column.values()))
        code = f"{written} ({files(field.source)})" if written else files(field.source)
        note = f"{'**differs**: ' if field.differs else ''}{field.note}"
        lines.append(f"| {label(field)} | {field.here} | {field.authors} | {code} | {note} |")
    return "\n".join(lines)


def table_by_recipe(names: Sequence[str], by_recipe: Sequence[Column]) -> str:
    """Return the table of fields that differ by recipe: a row for each recipe, and one that says where they stand."""
    titles, rules, where = ["recipe"], ["---"], ["in their code"]
    for column in by_recipe:
        field = next(iter(column.values()))
        titles.append(label(field))
        rules.append("---")
        where.append(files(field.source))
    lines = [line(titles), line(rules)]
    for name in names:
        cells = [f"`{name}`"]
        for column in by_recipe:
            cells.append(cell(column[name]) if name in column else "")
        lines.append(line(cells))
    return "\n".join([*lines, line(where)])


def cell(field: ComparedField) -> str:
    """Return a field's value, with the authors' if that is another, and how their files say it if they calculate."""
    if field.differs:
        return f"{field.here}; **theirs**: {field.authors} ({field.note})"
    return f"{field.here} ({field.written})" if " x " in field.written else field.here


def label(field: ComparedField) -> str:
    """Return a field's name: as code if it is a setting."""
    return f"`{field.name}`" if field.is_setting and field.name != RESOLUTION else field.name.removeprefix("arch.")


def files(source: str) -> str:
    """Return files as code; the script of a recipe, which is another for each, in words."""
    return ", ".join("the script" if file.endswith(".sh") else f"`{file}`" for file in source.split(", "))


def line(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def published() -> str:
    """Return the tables of what the authors publish: accuracies, then gains over plain training."""
    known = read_published()
    accuracies = table_of_figures(known.accuracies, "top-1 in percent", signed=False)
    gains = table_of_figures(known.gains, "percentage points over plain", signed=True)
    return f"{accuracies}\n\n{gains}"


def table_of_figures(figures: Figures, unit: str, *, signed: bool) -> str:
    """Return a table of figures: a row for each network and data set, a column for each way of training."""
    methods = [method for method in METHODS if any(method in row for sets in figures.values() for row in sets.values())]
    lines = [line(["network", f"data set, {unit}", *methods]), "|---|---|" + "---|" * len(methods)]
    for network, by_set in figures.items():
        for data_set, values in by_set.items():
            cells = []
            for method in methods:
                value = values.get(method)
                cells.append("-" if value is None else f"{value:+.1f}" if signed else f"{value:.1f}")
            lines.append(line([f"`{network}`", data_set, *cells]))
    return "\n".join(lines)
