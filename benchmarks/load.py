"""Is anything lost when many workers share a study, and die, pause, lose their database or fill a disk?

Workers search `micro-v1` within 1M MACs for a Pareto front. A stub takes the place of evaluations: it sleeps 0.1 to 2
seconds and returns a score, both fixed by the arch. Every start and end of an evaluation is logged, and compared with
the study and with the front of a single process. PostgreSQL is a server of its own on the loopback interface. Real
commands on `digits`, with one thread, are killed with SIGKILL at random moments (seed 0) and compared with
uninterrupted ones. The cost of a trial is processor time without any evaluation, with a journal file.

Takes about 2 hours on one core. Writes the tables `workers`, `kills` and `cost` of docs/results/load.md. Needs
PostgreSQL and the extra `distributed`, and root to mount a small disk; what is missing is skipped.
"""

import shutil
import signal
from collections.abc import Callable
from statistics import mean
from typing import Any

from common.cells import Cells
from common.command import run_benchmark
from common.load_cost import measure_cost
from common.load_kills import kill_retraining, kill_search, kill_supernet_training
from common.load_scenarios import can_mount, fill_disk, kill_on_journal, kill_on_postgres, pause_on_journal
from common.paths import PICTURES, SCRATCH, slug
from common.postgres import missing_postgres
from common.tables import Table
from matplotlib.figure import Figure

from tinynas.experiment.search_settings import SAMPLERS

POSTGRES = "PostgreSQL: a worker killed every 2 s, the server restarted twice"
JOURNAL = "journal file: a worker killed every 2 s"
PAUSED = "journal file: a worker paused for 9 s every 3 s, grace 3 s"
FULL_DISK = "journal file on a full disk, then free space again"
SCENARIOS = {
    POSTGRES: (kill_on_postgres, 64, 1500),  # workers, networks: for about five minutes
    JOURNAL: (kill_on_journal, 8, 1500),
    PAUSED: (pause_on_journal, 8, 600),
    FULL_DISK: (fill_disk, 4, 400),
}
COMMANDS = {
    "supernet training": kill_supernet_training,
    "search": kill_search,
    "retraining with NetAug": kill_retraining,
}
KILLS = 50
COST_TRIALS = 10_000
COST_WORKERS = (1, 16)
SHOWN = (200, 1000, 5000, 10_000)  # trials
AVERAGED = 2000  # trials at each end, in which the garbage collector's full passes are spread out


def measure(cells: Cells) -> None:
    """Measure the missing cells whose needs are met."""
    for name, (scenario, workers, trials) in SCENARIOS.items():
        missing = missing_postgres() if name == POSTGRES else None
        if name == FULL_DISK and not can_mount():
            missing = "only root can mount a small disk"
        if missing:
            print(f"load: {name} is skipped: {missing}")
            continue
        cells.measure(name, in_new_folder, name, scenario, workers, trials)
    for command, kill in COMMANDS.items():
        cells.measure(f"kills {command}", in_new_folder, f"kills {command}", kill, KILLS)
    for workers in COST_WORKERS:
        for sampler in SAMPLERS:
            name = f"cost {sampler} {workers}"
            cells.measure(name, in_new_folder, name, measure_cost, sampler, workers, COST_TRIALS)


def in_new_folder(name: str, function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a function with an empty folder as its first argument."""
    folder = (SCRATCH / slug(f"load {name}".replace(":", ""))).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return function(folder, *arguments)


def tables(cells: dict) -> list[Table]:
    """Return what became of the networks, the killed commands, and the cost of a trial."""
    return [workers_table(cells), kills_table(cells), cost_table(cells)]


def workers_table(cells: dict) -> Table:
    """Return what became of the networks of disturbed searches."""
    columns = ["search", "workers", "time", "networks", "killed / paused", "lost", "completed twice"]
    columns += ["evaluated twice", "left running", "same front", "errors", "connections"]
    rows = []
    for name in SCENARIOS:
        if name not in cells:
            continue
        cell = cells[name]
        row = [name, str(cell["workers"]), f"{cell['seconds']:.0f} s", str(cell["trials"])]
        row += [f"{cell['killed']} / {cell['pauses']}", str(cell["lost"]), str(cell["recorded_twice"])]
        row += [str(cell["evaluated_twice"]), str(cell["running"]), "yes" if cell["same_front"] else "no"]
        row += [str(cell["errors"]), str(cell.get("connections", ""))]
        rows.append(row)
    return Table(page="load", name="workers", columns=columns, rows=rows)


def kills_table(cells: dict) -> Table:
    """Return how many killed commands ended with the bits of uninterrupted ones."""
    rows = []
    for command in COMMANDS:
        cell = cells.get(f"kills {command}")
        if cell:
            rows.append([command, str(cell["kills"]), str(cell["commands"]), str(cell["equal"])])
    columns = ["command", "kills", "commands, resumed until they ended", "ended with the same bits"]
    return Table(page="load", name="kills", columns=columns, rows=rows)


def cost_table(cells: dict) -> Table:
    """Return the time and memory that a trial takes."""
    columns = ["sampler", "workers"]
    for trials in SHOWN:
        columns.append(f"ms, trial {trials:,}")
    columns += [f"trial {SHOWN[-1]:,} / trial {SHOWN[0]}", f"last {AVERAGED:,} / first {AVERAGED:,}", "KB a trial"]
    rows = []
    for workers in COST_WORKERS:
        for sampler in SAMPLERS:
            cell = cells.get(f"cost {sampler} {workers}")
            if cell:
                rows.append([sampler, str(workers), *cost_row(cell)])
    return Table(page="load", name="cost", columns=columns, rows=rows)


def cost_row(cell: dict) -> list[str]:
    """Return the milliseconds at the numbers of trials that are shown, two ratios, and the growth of the memory."""
    times = []
    for trials in SHOWN:
        times.append(cell["milliseconds"][cell["evaluations"].index(trials)])
    growth = 1000 * (cell["megabytes"][-1] - cell["megabytes"][0]) / (SHOWN[-1] - SHOWN[0])
    row = [f"{milliseconds:.1f}" for milliseconds in times]
    return [*row, f"{times[-1] / times[0]:.2f}", f"{late_over_early(cell):.2f}", f"{growth:.1f}"]


def late_over_early(cell: dict) -> float:
    """Return the mean time of the last trials over that of the first ones."""
    early, late = [], []
    for evaluations, milliseconds in zip(cell["evaluations"], cell["milliseconds"], strict=True):
        if evaluations <= AVERAGED:
            early.append(milliseconds)
        elif evaluations > COST_TRIALS - AVERAGED:
            late.append(milliseconds)
    return mean(late) / mean(early)


def draw(cells: dict) -> None:
    """Draw the time and memory of a trial over the trials."""
    figure = Figure(figsize=(10, 4.5), dpi=150, layout="constrained")
    for number, workers in enumerate(COST_WORKERS):
        axes = figure.add_subplot(1, len(COST_WORKERS) + 1, number + 1)
        for sampler in SAMPLERS:
            cell = cells.get(f"cost {sampler} {workers}")
            if cell:
                axes.plot(cell["evaluations"], cell["milliseconds"], label=sampler)
        processes = "1 worker" if workers == 1 else f"{workers} workers together"
        axes.set(title=f"processor time, {processes}", xlabel="trials", ylabel="ms a trial")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    axes = figure.add_subplot(1, len(COST_WORKERS) + 1, len(COST_WORKERS) + 1)
    for sampler in SAMPLERS:
        cell = cells.get(f"cost {sampler} {COST_WORKERS[0]}")
        if cell:
            axes.plot(cell["evaluations"], cell["megabytes"], label=sampler)
    axes.set(title="memory, 1 worker", xlabel="trials", ylabel="MB")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.savefig(PICTURES / "load.png")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that servers and disks are removed
    run_benchmark("load", __doc__, measure=measure, tables=tables, draw=draw)
