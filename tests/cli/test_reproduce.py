"""`tinynas reproduce` as a command."""

import json
import re
import subprocess
import sys

import pytest
from tinynas.cli.reproduce import _NETWORKS

from helpers import image_folder_of
from tinynas.experiment.reproduction import networks

WORDS = ("reproduce", "netaug", "--net", "mobilenet-v2-tiny")
QUICK = ("--epochs", "1", "--batch-size", "16", "--recalibration-images", "4")


def test_reproduce_trains_shows_the_table_and_writes_it(tinynas, tmp_path):
    image_folder_of(tmp_path)
    words = (*WORDS, "--part", "imagenet", "--data", "imagefolder:images", "--methods", "plain", *QUICK)
    code, out, err = tinynas(*words)
    assert code == 0, err
    (header,) = (line for line in out.splitlines() if line.startswith("data  "))
    titles = ["data", "network", "training", "metric", "paper %", "here %", "difference"]
    assert re.split(r" {2,}", header)[:7] == titles
    (row,) = (line for line in out.splitlines() if line.startswith("imagenet  "))
    assert re.split(r" {2,}", row)[:5] == ["imagenet", "mobilenet-v2-tiny", "plain", "accuracy", "51.7"]
    assert "not the paper's settings (theirs in brackets): imagenet plain: " in out
    run = tmp_path / "runs" / "reproduce-netaug-mobilenet-v2-tiny"
    assert "| imagenet | mobilenet-v2-tiny | plain | accuracy | 51.7 |" in (run / "reproduction.md").read_text()
    code, out, err = tinynas(*words, "--json")
    assert "of which finished: 1" in err
    document = json.loads(out)
    assert document["run"].endswith("reproduce-netaug-mobilenet-v2-tiny")
    assert document["trainings"] == json.loads((run / "reproduction.json").read_text())["trainings"]


@pytest.mark.slow
def test_processes_of_torchrun_train_together_and_one_shows_the_table(tmp_path):
    image_folder_of(tmp_path)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "tinynas.cli",
    ]
    words = [
        *torchrun,
        *WORDS,
        "--device",
        "cpu",
        "--part",
        "imagenet",
        "--data",
        "imagefolder:images",
        *QUICK,
        "--json",
    ]
    documents = []
    for _ in range(2):
        done = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True)
        documents.append(json.loads(done.stdout))
    assert [training["method"] for training in documents[0]["trainings"]] == ["plain", "netaug"]
    assert documents[1] == documents[0], "the second time nothing is trained"
    for name in ("imagenet-plain", "imagenet-netaug"):
        (log,) = (tmp_path / "runs").glob(f"*/retrain/{name}/log.jsonl")
        assert log.read_text().count("\n") == 1


def test_dry_run_shows_every_training_beside_the_authors_and_writes_nothing(tinynas, tmp_path):
    code, out, err = tinynas(*WORDS, "--part", "imagenet", "--data", "imagefolder:nowhere", "--dry-run")
    assert code == 0, err
    assert f"imagenet-plain: training on imagefolder:{tmp_path}/nowhere, resolved" in out
    assert f"imagenet-netaug: training on imagefolder:{tmp_path}/nowhere, resolved" in out
    assert out.splitlines()[-1] == "nothing was trained or written"
    words = ("--part", "transfer", "--data", "pets", "--data", "cub200=imagefolder:birds", "--dry-run", "--json")
    code, out, err = tinynas(*WORDS, *words)
    assert code == 0, err
    trainings = json.loads(out)
    assert list(trainings) == ["pets-plain", "pets-netaug", "cub200-plain", "cub200-netaug"]
    rates = []
    for content in trainings.values():
        (rate,) = (field["here"] for field in content["fields"] if field["name"] == "recipe.lr")
        rates.append(rate)
    assert rates == ["0.24", "0.24", "0.16", "0.16"]
    code, out, err = tinynas(*WORDS, "--part", "detect", "--data", "voc:nowhere", "--dry-run")
    assert code == 0, err
    assert not list(tmp_path.iterdir())


def test_errors_are_one_line(fails):
    for words, message in (
        (("--part", "imagenet"), "--part imagenet needs images; add --data imagefolder:PATH"),
        (("--part", "imagnet"), "unknown part 'imagnet'; did you mean 'imagenet'?"),
        (("--part", "transfer", "--data", "birds"), "unknown set of transfer 'birds'"),
        (("--part", "detect", "--data", "voc:nowhere"), "voc-plain trains the model of imagenet-plain further"),
        (
            ("--part", "kd", "--data", "imagefolder:x"),
            "by teacher needs a trained model, and the authors publish none; add --teacher MODEL",
        ),
        (("--part", "imagenet", "--data", "imagefolder:x", "--methods", "plan"), "unknown way of training 'plan'"),
    ):
        assert message in fails(*WORDS, *words)
    assert "unknown network 'mcunet-in3'; did you mean 'mcunet'?" in fails(
        "reproduce", "netaug", "--net", "mcunet-in3", "--part", "imagenet"
    )


def test_help_names_the_networks():
    assert set(re.split(", | or ", _NETWORKS)) == set(networks())
