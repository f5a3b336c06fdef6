from dataclasses import replace

import numpy as np

from helpers import SPACE
from tinynas import cost
from tinynas.pipelines.search_progress import SearchDisplay, SearchProgress, SearchState
from tinynas.study.history import Evaluation
from tinynas.utils.pareto import pareto_front


class Shown:
    """What was reported."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)

    def advance(self, task, done, total, text):
        self.lines.append(f"{task} {done}/{total}: {text}")


def state(evaluated, *, dropped=0, best=None, on_front=0, rejected=0):
    return SearchState(evaluated=evaluated, dropped=dropped, best=best, on_front=on_front, rejected=rejected)


def test_progress_is_that_of_all_evaluations():
    rng = np.random.default_rng(0)
    arch = SPACE.min()
    some_cost = cost(arch)
    evaluations = []
    for macs, correct in zip(rng.integers(1000, 1200, 300), rng.integers(0, 40, 300), strict=True):
        evaluations.append(Evaluation(arch=arch, accuracy=2.5 * int(correct), cost=replace(some_cost, macs=int(macs))))
    states = []
    progress = SearchProgress(states.append)
    progress.after_trial([], 0, 3)
    progress.after_trial([], 0, 3)
    assert states == [state(0, rejected=3)]
    for begin in range(0, 300, 7):
        known = evaluations[: begin + 7]
        progress.after_trial(known[begin:], 2, begin)
        front = pareto_front(known, lambda evaluation: evaluation.point(["macs"]))
        best = max(evaluation.accuracy for evaluation in known)
        assert states[-1] == state(len(known), dropped=2, best=best, on_front=len(front), rejected=begin)


def test_display_shows_the_newest_state_and_all_rejected_samples():
    shown = Shown()
    display = SearchDisplay(shown, trials=5)
    display.show(1, state(0, rejected=1))
    display.show(2, state(3, best=61.26, on_front=2, rejected=4))
    display.show(1, state(2, best=50.0, on_front=1, rejected=2))
    display.note("worker 2: its network was taken")
    display.show(1, state(5, best=70.0, on_front=3, rejected=2))
    display.show(2, state(6, best=90.0, on_front=3, rejected=4))
    assert shown.lines == [
        "search 0/5: 1 infeasible samples rejected",
        "search 3/5: best 61.3% on search-val, 2 on the front, 5 infeasible samples rejected",
        "search 3/5: best 61.3% on search-val, 2 on the front, 6 infeasible samples rejected",
        "worker 2: its network was taken",
        "search 5/5: best 70.0% on search-val, 3 on the front, 6 infeasible samples rejected",
    ]


def test_display_counts_dropped_networks():
    shown = Shown()
    display = SearchDisplay(shown, trials=5)
    display.show(1, state(2, best=50.0, on_front=1))
    display.show(2, state(1, dropped=2, best=40.0, on_front=1))
    display.show(1, state(3, dropped=2, best=60.0, on_front=1))
    display.show(1, state(4, dropped=2, best=99.0, on_front=1))
    assert shown.lines == [
        "search 2/5: best 50.0% on search-val, 1 on the front, 0 infeasible samples rejected",
        "search 3/5: best 40.0% on search-val, 1 on the front, 2 dropped, 0 infeasible samples rejected",
        "search 5/5: best 60.0% on search-val, 1 on the front, 2 dropped, 0 infeasible samples rejected",
    ]
