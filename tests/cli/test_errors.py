import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers import ROOT
from tinynas.arch.zoo import shipped_spaces


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "--flops", "50Q"], "cannot read '50Q': expected a count like"),
        (["search", "--flops", "0"], "the value must be above 0, but is 0; write a count like"),
        (["search", "--sram", "0KB"], "the value must be above 0, but is 0KB; write a size like"),
        (["search", "--latency", "0ms"], "the value must be above 0, but is 0ms; write a time like"),
        (
            ["search", "--epochs", "2", "--freeze-epochs", "3"],
            "--freeze-epochs is 3, but must be at most --epochs, which is 2",
        ),
        (["search", "--flops", ""], "the argument after `tinynas search --flops` is empty; write it, or remove it"),
        (["search", "--run", ""], "the argument after `tinynas search --run` is empty"),
        (["search", "--flops", "2M:1M", "--pareto"], "`low <= high` must hold, but got (low=2000000, high=1000000)"),
        (["search", "--flops", "1M:2M"], "a range of MACs is for --pareto"),
        (["search", "--latency", "5"], "cannot read '5': expected a time like 5ms"),
        (["search", "--workers", "0"], "workers must be at least 1, but is 0"),
        (["search", "--sampler", "tpo"], "did you mean 'tpe'?"),
        (["search", "--sram", "much"], "cannot read 'much': expected a size like"),
        (
            ["search", "--sram", "64KB", "--target", "tensorflow"],
            "unknown target 'tensorflow'; known: ethos-u55-128",
        ),
        (
            ["search", "--latency", "5ms"],
            "target tflm has no source of latency; add --latency-table",
        ),
        (
            ["search", "--flops", "10"],
            "no network of mobile32 fits, the smallest has macs 3,053,312 (limit 10); raise the limit",
        ),
        (["search", "--space", "mirco"], "unknown search space 'mirco'; did you mean 'micro'?"),
        (["search", "--data", "digit"], "unknown data set 'digit'; did you mean 'digits'?"),
        (["search", "--epochs", "0"], "epochs must be at least 1, but is 0"),
        (["search", "--class-weights", "balance"], "unknown weights 'balance'; did you mean 'balanced'?"),
        (["search", "--trials", "0"], "trials must be at least 1, but is 0"),
        (["search", "--sampler", "tpee"], "unknown sampler 'tpee'; did you mean 'tpe'?"),
        (["search", "--resume"], "no */config.yaml in runs"),
        (["search", "--resume", "--run", "nothing"], "nothing to resume in nothing"),
        (["retrain"], "no */best.yaml in runs; `tinynas search --flops 50M` creates a run"),
        (["retrain", "--resume"], "no unfinished retraining in runs"),
        (["retrain", "mcunet-in3", "--resume"], "no unfinished retraining in runs"),
        (["retrain", "runs/nothing"], "there is no run folder runs/nothing"),
        (["retrain", "mcunet-in33"], "did you mean 'mcunet-in3'?"),
        (["retrain", "nosuch"], "unknown network 'nosuch', and there is no run folder of that name; known: mcunet-"),
        (["retrain", "."], "has no best.yaml"),
        (["compare", "nothing"], "nothing to compare in nothing"),
        (["eval", "nothing.safetensors"], "cannot read nothing.safetensors"),
        (["eval"], "no */retrain/*/model.safetensors in runs"),
        (["export"], "no */retrain/*/model.safetensors in runs"),
        (["export", "nothing.safetensors"], "cannot read nothing.safetensors"),
        (["search", "--device", "cuda:77"], "--device cuda:77: "),
        (["cost", "mcunet.yaml"], "cannot read mcunet.yaml"),
        (
            ["cost", "mcunet-in3", "--resolution", "0"],
            "a size is a number of pixels such as 96, or height and width such as 96x160, but got '0'",
        ),
    ],
)
def test_cli_answers_bad_input_in_one_line(fails, words, message):
    assert message in fails(*words)


def test_cli_exits_with_2_on_wrong_usage(tinynas):
    for words in (["search", "--flop", "50M"], ["cost"], ["nonsense"], ["search", "--epochs", "many"]):
        assert tinynas(*words)[0] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "--task", "detekt"], "unknown task 'detekt'; did you mean 'detect'?"),
        (["search", "--data", "scattered-digits"], "networks that classify cannot learn from boxes; take other --data"),
        (["search", "--task", "detect", "--data", "digits"], "networks that detect cannot learn from labelled images"),
        (["search", "--task", "detect", "--space", "micro"], "networks that classify cannot learn from boxes"),
        (["retrain", "mcunet-in3", "--data", "scattered-digits"], "or networks that detect: by --task"),
        (
            ["search", "--task", "detect", "--class-weights", "balanced"],
            "class weights are for classification, but the network detects; remove --class-weights balanced",
        ),
        (
            ["retrain", "mcunet-in3", "--task", "detect", "--class-weights", "balanced"],
            "class weights are for classification, but the network detects; remove --class-weights balanced",
        ),
    ],
)
def test_cli_answers_bad_input_for_detectors_in_one_line(fails, words, message):
    assert message in fails(*words)


def test_initial_weights_of_a_classifier_are_refused_for_a_detector(fails):
    words = ("retrain", "mcunet-in3", "--task", "detect", "--classifier-std", "0.1")
    assert "classifier_std is 0.1, but the network detects" in fails(*words)


def test_a_search_space_is_no_network_to_train(fails, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(shipped_spaces()["micro"])
    assert f"{path}: is a search space, not a network; `tinynas search --space FILE`" in fails("retrain", str(path))


def test_folders_are_no_images_and_unfinished_retrainings_no_models(fails, model_file, tmp_path):
    assert f"{tmp_path} is a folder; name the image files in it" in fails("predict", str(model_file), str(tmp_path))
    unfinished = tmp_path / "run" / "retrain" / "netaug"
    unfinished.mkdir(parents=True)
    (unfinished / "checkpoint.pt").write_bytes(b"")
    advice = f"continue it: tinynas retrain {tmp_path / 'run'} --name netaug --resume"
    assert advice in fails("eval", str(unfinished))


@pytest.mark.parametrize("sizes", ["0", "80,,96", "96px"])
def test_eval_says_how_resolutions_are_written(fails, model_file, sizes):
    assert "--resolutions takes sizes with commas between them" in fails(
        "eval", str(model_file), "--resolutions", sizes
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_an_error_of_one_line(options, unbuffered):
    command = [sys.executable, "-m", "tinynas.cli", "cost", "mcunet-in3", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        process = subprocess.run(command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 1
    assert (
        process.stderr
        == "tinynas: cannot write the output: No space left on device; free some, or write it elsewhere\n"
    )


@pytest.mark.parametrize(
    "words", [["search"], ["retrain"], ["quickstart"], ["eval"], ["export"], ["sidenet"]], ids=" ".join
)
def test_every_command_that_computes_takes_a_device(fails, words):
    assert fails(*words, "--device", "gpu").startswith(
        "tinynas: --device gpu: there are auto, cpu, cuda, cuda:N and mps"
    )


def test_predict_takes_a_device(fails):
    assert fails("predict", "model", "image.png", "--device", "gpu").startswith("tinynas: --device gpu: ")


def test_a_device_that_fails_ends_a_command_in_one_line(fails, monkeypatch):
    def fail(*arguments, **settings):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors ...")

    monkeypatch.setattr("tinynas.pipelines.evaluate.evaluate", fail)
    monkeypatch.setattr("tinynas.experiment.runs.find_model", Path)
    reason = "CUDA error: an illegal memory access was encountered"
    assert fails("eval", "model").startswith(f"tinynas: the GPU has failed ({reason}); start again")
