"""`tinynas reproduce`: every part on 40 images in ImageNet's layout."""

from dataclasses import asdict

import pytest

from boxes import voc_folder
from helpers import Interrupting, Quiet, image_folder_of, overrides
from tinynas.experiment.reproduction import data_sets_of, methods_of, trainings_of
from tinynas.experiment.reproduction_report import report_reproduction
from tinynas.experiment.retrain_folder import RetrainFolder
from tinynas.models.model_file import read_model
from tinynas.pipelines.reproduce import plan_reproduction, reproduce, resolve_reproduction
from tinynas.utils.errors import FileError, InputError

NET = "mobilenet-v2-tiny"
QUICK = {"epochs": 1, "batch_size": 16, "recalibration_images": 4}


def plans_of(run, part, data, *, methods=(), **settings):
    data_sets = data_sets_of(part, NET, [data])
    trainings = trainings_of(data_sets, methods_of(part, methods))
    changes = overrides(**(QUICK | settings))
    return plan_reproduction(run, resolve_reproduction(run, NET, trainings, data_sets, changes))


def row_of(report, data_set, method):
    (found,) = (row for row in report.trainings if (row.data_set, row.method) == (data_set, method))
    return found


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    return f"imagefolder:{image_folder_of(tmp_path_factory.mktemp('images'))}"


@pytest.fixture(scope="module")
def run(tmp_path_factory, imagenet):
    """A run whose network is trained on ImageNet, plain and with NetAug."""
    path = tmp_path_factory.mktemp("runs") / "run"
    reproduce(plans_of(path, "imagenet", imagenet), report=Quiet())
    return path


def test_imagenet_is_trained_plain_and_with_netaug(run):
    config = {
        name: RetrainFolder(run / "retrain" / name).read_metrics() for name in ("imagenet-plain", "imagenet-netaug")
    }
    assert [metrics.netaug for metrics in config.values()] == [False, True]
    assert [metrics.init for metrics in config.values()] == ["kaiming-normal", "kaiming-uniform"]
    report = report_reproduction(run, NET)
    plain, netaug = report.trainings
    assert (plain.paper, plain.gain, plain.paper_gain) == (51.7, None, None)
    assert plain.difference == pytest.approx(plain.here - 51.7)
    assert (netaug.paper, netaug.paper_gain) == (53.3, 1.6)
    assert netaug.gain == pytest.approx(netaug.here - plain.here)
    assert plain.differs == (
        "recalibration_images 4 (0)",
        "recipe.epochs 1 (155)",
        "recipe.batch_size 16 (2048)",
        "classes 2 (1000)",
    )


def test_second_run_trains_nothing_and_other_settings_are_refused(run, imagenet):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    plans = plans_of(run, "imagenet", imagenet)
    quiet = Quiet()
    reproduce(plans, report=quiet)
    assert quiet.notes == ["retrainings of 1 network: 2, of which finished: 2"]
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    with pytest.raises(
        FileError, match=r"recipe.lr is 0.4 there, 0.3 here; choose another --run, or delete the folder"
    ):
        plans_of(run, "imagenet", imagenet, lr=0.3)


def test_interrupted_reproduction_continues_where_it_stopped(run, tmp_path, imagenet):
    plans = plans_of(tmp_path / "run", "imagenet", imagenet, methods=("plain",))
    with pytest.raises(KeyboardInterrupt):
        reproduce(plans, report=Interrupting(after=1))
    assert not RetrainFolder(plans[0].folder).is_finished()
    reproduce(plans, report=Quiet())
    states = [
        read_model(path / "retrain" / "imagenet-plain" / "model.safetensors").net for path in (run, tmp_path / "run")
    ]
    whole, resumed = (net.state_dict() for net in states)
    assert all(tensor.equal(resumed[name]) for name, tensor in whole.items())


def test_transfer_begins_with_the_models_of_imagenet_and_has_the_sets_rate(run, imagenet):
    plans = plans_of(run, "transfer", f"pets={imagenet}")
    assert [plan.folder.name for plan in plans] == ["pets-plain", "pets-netaug"]
    for plan, source in zip(plans, ("imagenet-plain", "imagenet-netaug"), strict=True):
        assert plan.config.init == str(run / "retrain" / source / "model.safetensors")
        assert (plan.config.netaug, plan.config.recipe.lr, plan.config.dropout) == (None, 4 * 0.06, 0.1)
    alike = [asdict(plan.config) | {"init": ""} for plan in plans]
    assert alike[0] == alike[1]
    reproduce(plans, report=Quiet())
    report = report_reproduction(run, NET)
    plain, netaug = row_of(report, "pets", "plain"), row_of(report, "pets", "netaug")
    assert (plain.paper, netaug.paper_gain) == (None, None), "the paper's gains are of another network"
    assert netaug.gain == pytest.approx(netaug.here - plain.here)
    assert "classes 2 (37)" in netaug.differs
    assert netaug.differs[-1] == "those of the model imagenet-netaug"


def test_transfer_needs_a_model_of_imagenet(tmp_path, imagenet):
    message = (
        r"pets-plain-4x trains the model of imagenet-plain-4x further, which is not in .*run; train it first, with "
        r"--part imagenet --methods plain-4x, or name the --run that has it"
    )
    with pytest.raises(FileError, match=message):
        plans_of(tmp_path / "run", "transfer", f"pets={imagenet}", methods=("plain-4x",))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_kd_learns_from_a_teacher_in_both_ways(run, imagenet):
    plans = plans_of(run, "kd", imagenet, teacher=str(run / "retrain" / "imagenet-netaug"))
    assert [plan.folder.name for plan in plans] == ["imagenet-teacher", "imagenet-netaug-teacher"]
    assert [plan.config.netaug is not None for plan in plans] == [False, True]
    reproduce(plans, report=Quiet())
    report = report_reproduction(run, NET)
    assert row_of(report, "imagenet", "netaug+teacher").paper == 54.4
    assert row_of(report, "imagenet", "teacher").differs[-1] == "teacher (not published)"


def test_teacher_is_for_the_ways_that_have_one(run, imagenet):
    with pytest.raises(
        InputError, match="by teacher needs a trained model, and the authors publish none; add --teacher MODEL"
    ):
        plans_of(run, "kd", imagenet)
    with pytest.raises(InputError, match=r"no training here has a teacher; remove --teacher .*, or choose --part kd"):
        plans_of(run, "imagenet", imagenet, teacher="supernet")


def test_way_of_training_decides_on_netaug_and_initial_weights(run, imagenet):
    for settings in ({"netaug": True}, {"init": "kaiming-normal"}):
        with pytest.raises(InputError, match="follows from the way of training here; remove it, or choose --methods"):
            plans_of(run, "imagenet", imagenet, **settings)


def test_detectors_have_the_backbones_of_imagenet(run, tmp_path):
    plans = plans_of(run, "detect", f"voc:{voc_folder(tmp_path, trainval=12, test=4)}")
    assert [(plan.folder.name, plan.arch.task) for plan in plans] == [("voc-plain", "detect"), ("voc-netaug", "detect")]
    reproduce(plans, report=Quiet())
    netaug = row_of(report_reproduction(run, NET), "voc", "netaug")
    metrics = RetrainFolder(run / "retrain" / "voc-netaug").read_metrics()
    assert (netaug.metric, netaug.here, netaug.differs) == ("AP50", metrics.ap50, None)


def test_plain_4x_has_four_times_the_epochs(tmp_path, imagenet):
    (longer,) = plans_of(tmp_path, "imagenet", imagenet, methods=("plain-4x",), epochs=2)
    (plain,) = plans_of(tmp_path, "imagenet", imagenet, methods=("plain",), epochs=2)
    assert longer.config.recipe.epochs == 8
    assert asdict(longer.config)["recipe"] | {"epochs": 2} == asdict(plain.config)["recipe"]
