"""Samplers of a program's own."""

import pytest
import yaml
from optuna.samplers import NSGAIISampler, RandomSampler

import tinynas
from tinynas.utils.errors import InputError

QUICK = {"space": "micro", "data": "digits", "epochs": 1, "batch_size": 256, "trials": 12, "seed": 1}


def test_search_takes_a_sampler_of_optuna_and_needs_it_to_resume(tmp_path):
    sampler = NSGAIISampler(seed=0, population_size=4)
    run = tinynas.search(sampler=sampler, pareto="sram,macs", flops="1M", run=tmp_path / "run", **QUICK)
    assert len(run.evaluations) == 12
    assert all(entry.cost.macs <= 1_000_000 for entry in run.evaluations)
    assert yaml.safe_load((tmp_path / "run" / "search.yaml").read_text())["sampler"] == "program:NSGAIISampler"
    with pytest.raises(InputError, match="the search to resume has the sampler NSGAIISampler of a program; give one"):
        tinynas.search(run=tmp_path / "run", resume=True, trials=13)
    for other, trials in ((RandomSampler(seed=0), 13), ("random", 14)):
        run = tinynas.search(run=tmp_path / "run", resume=True, trials=trials, sampler=other)
        assert len(run.evaluations) == trials


class Single(RandomSampler):
    """A sampler for one objective only."""

    def sample_relative(self, study, trial, search_space):
        if len(study.directions) > 1:
            raise ValueError("one objective only.")
        return {}


def test_samplers_that_cannot_be_used_are_errors_in_a_line(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(InputError, match="workers are processes of their own, which lack the sampler RandomSampler"):
        tinynas.search(sampler=RandomSampler(), workers=2, run=run, **QUICK)
    with pytest.raises(InputError, match="sampler must be a name or a sampler of Optuna, but is 3"):
        tinynas.search(sampler=3, run=run, **QUICK)
    with pytest.raises(InputError, match=r"sampler is the class RandomSampler; call it: sampler=RandomSampler\(\)"):
        tinynas.search(sampler=RandomSampler, run=run, **QUICK)
    with pytest.raises(InputError, match=r"the sampler Single failed: ValueError: one objective only; choose another"):
        tinynas.search(sampler=Single(), pareto="sram", run=run, **QUICK)
    with pytest.raises(InputError, match="unknown sampler 'randon'; did you mean 'random'"):
        tinynas.search(sampler="randon", run=run, **QUICK)
    with pytest.raises(InputError, match=r"optunahub:samplers/any needs the package optunahub|optunahub cannot load"):
        tinynas.search(sampler="optunahub:samplers/any", run=run, **QUICK)
    assert not run.exists(), "before anything is trained"
