"""The folder for firmware: its C parts compiled and compared with Python, its tables with the TFLite files."""

import ctypes
import os
import re
import shutil
import subprocess
from binascii import crc32
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import compiled_sources, images_for, model_of, sidenet_of
from tinynas.arch.arena import arena
from tinynas.arch.exit_lowering import split_after_outputs
from tinynas.arch.lowering import lower
from tinynas.pipelines.trained_model import network_input

pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")

from ai_edge_litert import schema_py_generated as schema

from tinynas.deploy.firmware import to_firmware
from tinynas.deploy.firmware_config import ARENA_MARGIN
from tinynas.deploy.firmware_golden import golden_frames
from tinynas.deploy.firmware_parts import FirmwareExits, FirmwareModel, FirmwarePart
from tinynas.deploy.tflite import to_tflite
from tinynas.deploy.tflite_parts import tflite_parts
from tinynas.deploy.vela import compile_file
from tinynas.utils.sizes import pair

MAX_WIDTH, MAX_HEIGHT = 90, 70
TEMPERATURES = (0.7, 1.6)
PER_CHANNEL = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class Output(ctypes.Structure):
    """ModelOutput of model_config.h."""

    _fields_ = [
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int),
    ]


def firmware_of(arch, **changes):
    """The folder's model: a network with fresh weights and its int8 file."""
    model = replace(model_of(arch), **changes)
    int8 = to_tflite(model, calibration=[images_for(arch, 6)])[1]
    return FirmwareModel(model=model, parts=[FirmwarePart(name="model", network=lower(arch), content=int8.content)])


def exits_firmware_of(arch, threshold):
    sidenet = sidenet_of(arch)
    parts = tflite_parts(model_of(arch).net, ["stages.0"], sidenet.heads, 5).quantize(images_for(arch, 6))
    exits = FirmwareExits(thresholds=[threshold], temperatures=TEMPERATURES)
    networks = split_after_outputs(parts.network)
    files = [
        FirmwarePart(name=f"part{number}", network=network, content=content)
        for number, (network, content) in enumerate(zip(networks, parts.files, strict=True), 1)
    ]
    return FirmwareModel(model=model_of(arch), parts=files, exits=exits)


def random_frames(firmware, count=2):
    arch = firmware.model.net.arch
    height, width = (round(1.7 * side) for side in pair(arch.resolution))
    return np.random.default_rng(5).integers(0, 256, (count, height, width, arch.in_channels), dtype=np.uint8)


def written(firmware, folder, frames=None):
    contents = to_firmware(firmware, random_frames(firmware) if frames is None else frames)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


def table(library, name, kind, count):
    return np.array((kind * count).in_dll(library, name))


def preprocessed(library, firmware, frame):
    """What preprocess.c makes of a frame (H, W, C), as (1, H, W, C)."""
    arch = firmware.model.net.arch
    result = np.zeros((1, *pair(arch.resolution), arch.in_channels), np.int8)
    height, width, channels = frame.shape
    frame = np.ascontiguousarray(frame)
    pointers = [ctypes.c_void_p(values.ctypes.data) for values in (frame, result)]
    assert library.preprocess(pointers[0], width, height, channels, pointers[1]) == 0
    return result


def expected_input(firmware, frame):
    """The int8 input for a frame, as evaluation and prediction in Python make it."""
    grey = firmware.model.net.arch.in_channels == 1
    picture = Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame).convert("L" if grey else "RGB")
    pixels = np.array(picture).reshape(*frame.shape[:2], -1).transpose(2, 0, 1)
    return firmware.parts[0].litert.quantized(network_input(firmware.model, torch.from_numpy(pixels)))


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("crop", [1.0, 7 / 8, 0.7])
@pytest.mark.parametrize("form", ["classify", "detect", "wide", "high"])
def test_preprocess_makes_pythons_input_of_any_frame(space, detectors, rng, tmp_path, form, colour, crop):
    arch = replace((detectors if form == "detect" else space).max(), in_channels=3 if colour else 1)
    if form in ("wide", "high"):
        arch = replace(arch, resolution={"wide": (10, 17), "high": (16, 9)}[form])
    firmware = firmware_of(arch, crop=crop)
    if colour:
        normalise = replace(firmware.model.normalise, **PER_CHANNEL)
        firmware = replace(firmware, model=replace(firmware.model, normalise=normalise))
    written(firmware, tmp_path)
    limits = f"PREPROCESS_MAX_WIDTH={MAX_WIDTH}", f"PREPROCESS_MAX_HEIGHT={MAX_HEIGHT}"
    library = compiled_sources(tmp_path, "preprocess.c", "model_config.c", defines=limits)
    sizes = [(MAX_HEIGHT, MAX_WIDTH), (MAX_HEIGHT, MAX_HEIGHT), (1, 1), (3, MAX_WIDTH), (MAX_HEIGHT, 5)]
    seen_height, seen_width = pair(arch.resolution)
    sizes += [(seen_height, seen_width), (seen_height, seen_width + 1), (11, 16), (13, 13)]
    sizes += [(int(rng.integers(1, MAX_HEIGHT + 1)), int(rng.integers(1, MAX_WIDTH + 1))) for _ in range(40)]
    for height, width in sizes:
        for channels in (1, 3):
            frame = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
            if rng.integers(2):
                frame = np.where(frame > 127, 255, 0).astype(np.uint8)
            actual = preprocessed(library, firmware, frame)
            assert np.array_equal(actual, expected_input(firmware, frame)), (height, width, channels)


@pytest.mark.parametrize("size", [(0, 9, 1), (9, 0, 1), (MAX_WIDTH + 1, 9, 1), (9, MAX_HEIGHT + 1, 3), (9, 9, 2)])
def test_preprocess_rejects_frames(space, tmp_path, size):
    firmware = firmware_of(space.min())
    written(firmware, tmp_path)
    limits = f"PREPROCESS_MAX_WIDTH={MAX_WIDTH}", f"PREPROCESS_MAX_HEIGHT={MAX_HEIGHT}"
    library = compiled_sources(tmp_path, "preprocess.c", "model_config.c", defines=limits)
    assert library.preprocess(None, *size, None) == -1


def test_config_says_what_the_file_does(any_space, tmp_path):
    arch = any_space.max()
    names = ('a "b" \\', "Füße\n猫", "??/")
    assert len(names) == arch.classes
    firmware = firmware_of(arch, classes=names)
    written(firmware, tmp_path)
    library = compiled_sources(tmp_path, "model_config.c")
    litert = firmware.parts[0].litert
    for output, details in zip(
        (Output * len(litert.outputs)).in_dll(library, "kModelOutputs"), litert.outputs, strict=True
    ):
        scale, zero_point = details["quantization"]
        assert (output.scale, output.zero_point) == (np.float32(scale), zero_point)
        assert output.height * output.width * output.channels == np.prod(details["shape"])
        assert output.channels == details["shape"][-1]
    classes = (ctypes.c_char_p * arch.classes).in_dll(library, "kModelClasses")
    assert tuple(name.decode() for name in classes) == names
    if arch.task == "detect":
        assert table(library, "kModelStrides", ctypes.c_int, 6).tolist() == [32, 32, 16, 16, 8, 8]


def macro(folder, name):
    return re.search(rf"#define {name} (.*)", (folder / "model_config.h").read_text()).group(1)


def test_config_has_the_input_and_the_arena_of_every_kind_of_kernels(space, tmp_path):
    firmware = firmware_of(space.max())
    written(firmware, tmp_path)
    scale, zero_point = firmware.parts[0].litert.inputs[0]["quantization"]
    assert np.float32(macro(tmp_path, "MODEL_INPUT_SCALE").removesuffix("f")) == np.float32(scale)
    assert macro(tmp_path, "MODEL_INPUT_ZERO_POINT") == f"({zero_point})"
    header, network = (tmp_path / "model_config.h").read_text(), lower(space.max())
    counted = [
        arena(network, bits=64),
        arena(network, kernels="cmsis-nn-mve", planned_for="reference"),
        arena(network, kernels="cmsis-nn-dsp", planned_for="reference"),
        arena(network),
    ]
    sizes = [int(size) for size in re.findall(r"#define MODEL_ARENA_COUNTED (\d+)", header)]
    assert sizes == [memory.total for memory in counted]
    assert macro(tmp_path, "MODEL_ARENA_MARGIN") == str(ARENA_MARGIN)


def test_resolver_has_exactly_the_operators_of_the_file(any_space, rng, tmp_path):
    for _ in range(3):
        firmware = firmware_of(any_space.sample(rng))
        written(firmware, tmp_path)
        codes = schema.ModelT.InitFromPackedBuf(firmware.parts[0].content, 0).operatorCodes
        names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
        expected = {"Add" + names[code.builtinCode].replace("_", "").lower() for code in codes}
        text = (tmp_path / "ops_resolver.h").read_text()
        calls = re.findall(r"resolver\.(Add\w+)\(\)", text)
        assert {call[:3] + call[3:].lower() for call in calls} == expected
        assert f"MicroMutableOpResolver<{len(calls)}>" in text


def test_arrays_are_the_file_and_what_it_returns(any_space, tmp_path):
    firmware = firmware_of(any_space.max())
    frames = random_frames(firmware)
    contents = written(firmware, tmp_path, frames)
    library = compiled_sources(tmp_path, "model_data.cc", "golden.cc", "preprocess.c", "model_config.c")
    (content,) = (ctypes.c_void_p * 1).in_dll(library, "kModelParts")
    (size,) = (ctypes.c_uint * 1).in_dll(library, "kModelPartSizes")
    assert ctypes.string_at(content, size) == contents["model.tflite"] == firmware.parts[0].content
    assert content % 16 == 0
    assert np.array_equal(table(library, "kGoldenFrames", ctypes.c_uint8, frames.size), frames.ravel())
    checksums = table(library, "kGoldenInputChecksums", ctypes.c_uint32, len(frames))
    for number, frame in enumerate(frames):
        inputs = preprocessed(library, firmware, frame)
        assert checksums[number] == crc32(inputs.tobytes())
        outputs = np.concatenate([values.ravel() for values in firmware.parts[0].litert.run([inputs])])
        golden = table(library, "kGoldenOutputs", ctypes.c_int8, len(frames) * outputs.size).reshape(len(frames), -1)
        assert np.array_equal(golden[number], outputs)


def test_compiled_files_take_the_place_of_the_files(any_space, tmp_path):
    pytest.importorskip("ethosu.vela", reason="the extra ethos is not installed")
    firmware = firmware_of(any_space.max())
    (part,) = firmware.parts
    compiled = compile_file(part.content, "ethos-u55-128")
    firmware = replace(firmware, parts=[replace(part, compiled=compiled)])
    contents = written(firmware, tmp_path)
    assert contents["model.tflite"] == compiled.content
    library = compiled_sources(tmp_path, "model_data.cc", "golden.cc", "model_config.c")
    (content,) = (ctypes.c_void_p * 1).in_dll(library, "kModelParts")
    assert ctypes.string_at(content, len(compiled.content)) == compiled.content
    assert re.findall(r"resolver\.(Add\w+)", contents["ops_resolver.h"].decode()) == ["AddEthosU"]
    # The arena used in TFLM with the kernel of Ethos-U: 452 B more than Vela's memory, 536 B with two outputs.
    used = compiled.estimate.sram + 452 + 84 * (len(part.network.outputs) - 1)
    assert used <= int(macro(tmp_path, "MODEL_ARENA_COUNTED")) <= used + 512 + 44 * (len(part.network.outputs) - 1)
    assert b"ethosu_init" in contents["README.md"]


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, [0, 0]), (1.5, [1, 1])])
def test_exits_have_a_file_a_part(space, tmp_path, threshold, expected):
    firmware = exits_firmware_of(space.max(), threshold)
    contents = written(firmware, tmp_path)
    assert {"part1.tflite", "part2.tflite"} <= contents.keys()
    assert b"Classify" in contents["main.cc"]
    library = compiled_sources(tmp_path, "model_data.cc", "golden.cc", "model_config.c")
    sizes = table(library, "kModelPartSizes", ctypes.c_uint, 2)
    assert sizes.tolist() == [len(contents["part1.tflite"]), len(contents["part2.tflite"])]
    assert np.allclose(table(library, "kModelTemperatures", ctypes.c_float, 2), TEMPERATURES)
    assert table(library, "kGoldenExits", ctypes.c_int, 2).tolist() == expected
    assert table(library, "kModelThresholds", ctypes.c_float, 1).tolist() == [threshold]
    sizes = []
    for part in firmware.parts:
        sizes.append(sum(np.prod(details["shape"]) for details in part.litert.inputs))
    assert int(macro(tmp_path, "MODEL_CARRIED_BYTES")) == max(sizes)
    golden = table(library, "kGoldenOutputs", ctypes.c_int8, 2 * 2 * 3).reshape(2, 2, 3)
    carried = [expected_input(firmware, random_frames(firmware)[1])]
    for part, logits in zip(firmware.parts, golden[1], strict=True):
        outputs = part.litert.run(carried)
        assert np.array_equal(outputs[0][0], logits)
        carried = outputs[1:]


def test_golden_frames_are_images_of_the_test_split(data, space):
    model = replace(model_of(space.max(), classes=data.classes), normalise=data.normalise)
    frames = golden_frames(model, data)
    resized = round(model.net.arch.resolution * 8 / 7)
    assert frames.shape == (3, round(1.25 * resized), round(1.25 * resized), 1)
    ((first, _),) = data.evaluation_batches(data.test, frames.shape[1], batch_size=len(data.test))
    assert np.array_equal(frames[0], data.normalise.undone(first[:1])[0].permute(1, 2, 0).numpy())
    assert not np.array_equal(frames[0], frames[2])
    large = replace(model, net=model_of(replace(space.max(), resolution=300)).net)
    assert golden_frames(large, data).shape == (1, 429, 429, 1)


def built_with_cmake(folder, *definitions):
    """The folder's build folder, after CMake has built all."""
    if not shutil.which("cmake"):
        pytest.skip("there is no cmake")
    build = folder / "build"
    for command in (["cmake", "-S", folder, "-B", build, *definitions], ["cmake", "--build", build]):
        subprocess.run(command, check=True, capture_output=True)
    return build


def test_cmake_builds_the_library(space, tmp_path):
    written(firmware_of(space.min()), tmp_path)
    assert (built_with_cmake(tmp_path) / "libmodel.a").exists()


@pytest.mark.parametrize("kind", ["classifier", "detector", "exits", "wrong outputs", "wrong input"])
def test_self_test_passes_in_tflm_and_fails_if_something_is_wrong(request, space, tmp_path, kind):
    """Needs TFLM: its tree and its library as the folder's CMakeLists.txt takes them."""
    tree, library = os.environ.get("TFLM_DIR"), os.environ.get("TFLM_LIBRARY")
    if not (tree and library):
        pytest.skip("TFLM_DIR and TFLM_LIBRARY are not set")
    arch = request.getfixturevalue("detectors").max() if kind == "detector" else space.max()
    written(exits_firmware_of(arch, 1.5) if kind == "exits" else firmware_of(arch), tmp_path)
    if kind == "wrong outputs":
        change(tmp_path / "golden.cc", r"(MODEL_OUTPUT_BYTES\] = {\s+{\s+)(-?\d+)", lambda value: (value + 100) // 2)
    if kind == "wrong input":
        change(tmp_path / "golden.cc", r"(kGoldenInputChecksums\[GOLDEN_COUNT\] = {\s+)(\d+)", lambda value: value ^ 1)
    build = built_with_cmake(tmp_path, f"-DTFLM_DIR={tree}", f"-DTFLM_LIBRARY={library}")
    result = subprocess.run([build / "self_test"], capture_output=True, text=True, timeout=60)
    last = (result.stdout + result.stderr).split()[-1]
    assert (last, result.returncode) == (("FAIL", 1) if kind.startswith("wrong") else ("PASS", 0))


def change(path, pattern, new):
    """Replace the number after the first match of a pattern in a file."""
    text, count = re.subn(pattern, lambda match: f"{match[1]}{new(int(match[2]))}", path.read_text(), count=1)
    assert count
    path.write_text(text)


def test_readme_names_every_file_and_the_memory(any_space, tmp_path):
    firmware = firmware_of(any_space.max())
    contents = written(firmware, tmp_path)
    text = contents["README.md"].decode()
    assert "$" not in text
    for name in contents.keys() - {"README.md"}:
        assert f"`{name}`" in text
    assert f"{arena(firmware.parts[0].network).total:,}" in text
