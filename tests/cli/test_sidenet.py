import json
from pathlib import Path

import torch
from PIL import Image

from tinynas import load
from tinynas.utils.io import read_json


def test_commands_evaluate_predict_and_export_early_exits(early_exits, watched, tinynas):
    folder = early_exits.exits
    code, out, err = tinynas("eval", folder, "--json")
    assert code == 0, err
    evaluated, written = json.loads(out), read_json(folder / "sidenet.json")
    for name in ("accuracy", "macs", "flash"):
        assert evaluated[name] == written[name]
    Image.fromarray(watched.test.images[0, 0].numpy()).save("image.png")
    code, out, err = tinynas("predict", folder, "image.png")
    assert code == 0, err
    assert "(exit stages.0)" in out or "(exit mainnet)" in out
    code, out, err = tinynas("export", folder, "--to", "onnx", "--no-int8")
    assert code == 0, err
    assert "part1.onnx, part2.onnx, export.json" in out


def test_sidenet_command_meets_a_target_or_says_what_is_wrong(model_file, tinynas, fails):
    words = ("sidenet", model_file.parent, "--tap", "stem", "--target-accuracy", "20%", "--json")
    code, out, err = tinynas(*words)
    assert code == 0, err
    assert json.loads(out)["taps"] == ["stem"]
    assert (Path(json.loads(out)["folder"]) / "sidenet.safetensors").exists()
    assert "expected a percentage" in fails("sidenet", model_file, "--target-accuracy", "much")
    message = fails("sidenet", model_file, "--target-accuracy", "100")
    assert "no threshold reaches 100.00%" in message
    assert "remove MODEL and --tap" in fails("sidenet", "--tap", "stem", "--cascade", "a", "b")
    assert "no */retrain/*/model.safetensors in runs" in fails("sidenet")


def test_sidenet_command_takes_the_newest_model(model_file, tinynas):
    newest = Path("runs/r/retrain/netaug/model.safetensors")
    newest.parent.mkdir(parents=True)
    newest.write_bytes(model_file.read_bytes())
    code, out, err = tinynas("sidenet")
    assert code == 0, err
    assert "with exits" in out
    rows = ("average MACs", "worst MACs", "peak SRAM", "flash", "ECE calibrated", "written to runs/r/retrain/netaug")
    for row in rows:
        assert row in out
    assert (newest.parent / "sidenet" / "sidenet.json").exists()


def test_sidenet_command_makes_a_cascade_whose_file_may_have_any_name(model_file, watched, tinynas, fails):
    code, out, err = tinynas("sidenet", "--cascade", model_file, model_file.parent, "--threshold", "0.5")
    assert code == 0, err
    assert "Cascade on 30 test images" in out
    folder = model_file.parent / "cascade"
    assert "has one image size" in fails("eval", folder, "--resolutions", "8,12")
    renamed = Path("my.safetensors")
    renamed.write_bytes((folder / "sidenet.safetensors").read_bytes())
    assert tinynas("eval", renamed)[0] == 0
    assert load(renamed)(torch.zeros(2, 1, 8, 8), threshold=0.5).logits.shape == (2, 3)
    Image.fromarray(watched.test.images[0, 0].numpy()).save("image.png")
    message = fails("predict", renamed, "image.png", "--threshold", "0.5")
    assert "a threshold selects the boxes of a detector" in message
