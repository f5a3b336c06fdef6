"""Write the tables of docs/results/ from the benchmarks' cells: trainings, int8, detection, early exits.

python benchmarks/readme.py
"""

from pathlib import Path
from statistics import mean, stdev

import deploy
import detect
import netaug
import sidenet
from cells import Cells

PAGES = Path(__file__).parent.parent / "docs" / "results"
NAMES = {  # of netaug.py's rows
    "NetAug": "NetAug, the paper's schedule: `--expand-until 1`",
    "NetAug, in the first half only": "NetAug (the default)",
    "NetAug, in the first half only, twice the epochs": "NetAug (the default), twice the epochs",
    "NetAug, every 4th step": "NetAug, `--expand-until 1 --every 4`",
    "teacher": "`--teacher supernet`",
    "NetAug, from the supernet": "NetAug, `--init supernet`",
    "plain, from the supernet": "plain, `--init supernet`",
    "dropout": "`--dropout 0.2`",
    "strong augmentation": "`--augmentation strong`",
    "NetAug, sorting": "`--sort`",
    "NetAug, widths to the end": "`--width-until 1`",
    "NetAug, every 2nd step": "`--every 2`",
    "NetAug, alpha 0.5": "`--alpha 0.5`",
    "NetAug, alpha 2": "`--alpha 2`",
    "NetAug, two augmented networks": "`--num-augmented 2`",
    "NetAug, kaiming-normal": "`--init kaiming-normal`",
    "NetAug, small factors": "`--width 1,1.4 --expand 1,1.6`",
}

NAMES_OF_DETECT = {"plain, equal passes": "plain, twice the epochs", "NetAug": "NetAug (the default)"}


def seeds_of(cells: dict, size: str, name: str) -> dict[int, dict]:
    return {seed: cells[key] for seed in netaug.SEEDS if (key := f"{size} {name} seed {seed}") in cells}


def netaug_row(cells: dict, size: str, name: str) -> list[str]:
    """Name, seeds, test, train, difference, time; empty if there is nothing yet."""
    found = seeds_of(cells, size, name)
    if not found:
        return []
    test, train, difference = netaug.described(found, seeds_of(cells, size, "plain"))
    time = netaug.time_told(cells, size, name, found)
    return [NAMES.get(name, name), str(len(found)), test, train, "" if name == "plain" else difference, time]


def int8_row(cells: dict, size: str, name: str) -> list[str]:
    found = seeds_of(cells, size, name)
    if not found:
        return []
    accuracies = [[row["accuracy"] for row in cell["files"]] for cell in found.values()]  # torch, fp32, int8
    lost = [int8 - fp32 for _, fp32, int8 in accuracies]
    spread = f" ± {stdev(lost):.2f}" if len(lost) > 1 else ""
    means = [f"{mean(of_form):.2f}" for of_form in list(zip(*accuracies, strict=True))[1:]]
    return [size, NAMES.get(name, name), str(len(found)), *means, f"{mean(lost):+.2f}{spread}"]


def tables() -> dict[str, tuple[str, list[list[str]]]]:
    """Return the head and the rows of every table, by the page and the name in its markers."""
    trained, deployed = Cells("netaug").read(), Cells("deploy").read()
    main = [
        [size, *row]
        for size in (*netaug.SIZES, "large")
        for name in netaug.MAIN
        if (row := netaug_row(trained, size, name))
    ]
    ablation = [netaug_row(trained, "0.1M", f"NetAug, {name}") for name in netaug.ABLATION]
    return {
        "netaug/netaug": ("| | | seeds | test % | train % | difference to plain | training time |", main),
        "netaug/netaug-settings": (
            "| NetAug (the paper's schedule), changed | seeds | test % | difference to plain | training time |",
            [[row[0], row[1], row[2], row[4], row[5]] for row in ablation if row],
        ),
        "detection/detection": (
            "| MACs | | seeds | AP50 | mAP | mAP, train | AP50's difference to plain | training time |",
            [
                [size, NAMES_OF_DETECT.get(name, name), *figures]
                for size in detect.SIZES
                for name, figures in detect.rows_of(Cells("detect").read(), size).items()
            ],
        ),
        "early-exits/early-exits": (
            f"| {' | '.join(sidenet.COLUMNS)} |",
            list(sidenet.rows(Cells("sidenet").read())),
        ),
        "deployment/int8": (
            "| | | seeds | fp32 % | int8 % | int8 - fp32 |",
            [row for size in deploy.SIZES for name in deploy.TRAININGS if (row := int8_row(deployed, size, name))],
        ),
    }


def main() -> None:
    """Replace every table between its markers."""
    for place, (head, rows) in tables().items():
        if not rows:
            continue
        page, _, name = place.partition("/")
        path = PAGES / f"{page}.md"
        begin, end = f"<!-- begin:{name} -->\n", f"<!-- end:{name} -->"
        before, rest = path.read_text().split(begin)
        after = rest.partition(end)[2]
        rule = "|" + "---|" * (head.count("|") - 1)
        lines = [head, rule, *("| " + " | ".join(row) + " |" for row in rows)]
        path.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


if __name__ == "__main__":
    main()
