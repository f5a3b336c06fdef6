"""Show that a change of structure changes no behaviour: digests of weights and result files of tiny experiments.

    python benchmarks/behaviour.py --out before.json        # on the old code
    python benchmarks/behaviour.py --against before.json    # on the new code

Takes about 8 minutes on one core.

Every experiment is a command line run in a fresh folder on one thread with a fixed seed, which makes the results equal
to the last bit. Weights are hashed tensor by tensor; JSON files by their content, without times and paths. The package
that is imported is the one of the checkout in which the script lies.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = ("front.json", "metrics.json", "sidenet.json", "export.json", "resolutions.json", "compare.json")
# Keys whose values differ from run to run, or by file name:
MEASURED = ("seconds", "latency", "worst_latency", "mainnet_latency", "bytes")
PATHS = ("model", "folder", "run", "picture", "sha256")  # and a digest of them
SEARCH = "search --space micro-v1 --flops 300K --epochs 1 --trials 3"

EXPERIMENTS: dict[str, str] = {
    "search": f"{SEARCH} --run digits",
    "search, progressive": f"{SEARCH} --run progressive --largest-epochs 0 --shrinking --randoms 1 --sampler nsga2",
    "retrain": "retrain digits --epochs 2",
    "retrain, NetAug": "retrain digits --netaug --epochs 2",
    "retrain, NetAug and teacher": "retrain digits --netaug --teacher supernet --epochs 2 --expand-until 1 --sort",
    "retrain, warm": "retrain digits --init supernet --epochs 1 --augmentation strong --name warm --clip 1",
    "detector, search": "search --task detect --epochs 1 --trials 2 --run boxes",
    "detector, retrain": "retrain boxes --epochs 1 --netaug",
    "SideNet": "sidenet digits/retrain/plain --tap stages.1",
    "cascade": "sidenet --cascade digits/retrain/plain supernet --out digits/retrain/plain/cascade",
    "export": "export digits/retrain/plain --calibration 64",
    "export, SideNet": "export digits/retrain/plain/sidenet --calibration 64",
    "eval": "eval digits/retrain/plain --resolutions 24,32",
    "compare": "compare digits boxes --json",
}


def digest_of_tensors(path: Path) -> str:
    """A hash of every tensor's name, type and bytes, in the order of the names."""
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".pt":
        tensors = torch.load(path, weights_only=True)["model"]
    else:
        tensors = load_file(path)
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()[:16]


def without_measurements(content: Any) -> Any:
    """The JSON content without what differs from run to run."""
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if key not in MEASURED + PATHS}
        return {key: without_measurements(value) for key, value in kept.items()}
    if isinstance(content, list):
        return [without_measurements(item) for item in content]
    return content


def run_experiments(folder: Path) -> None:
    """Run every command line in the folder, one after the other."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(CHECKOUT))
    for name, command in EXPERIMENTS.items():
        print(f"{name}: tinynas {command}", file=sys.stderr, flush=True)
        words = [sys.executable, "-m", "tinynas.cli"]
        words += command.split()
        process = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if process.returncode:
            sys.exit(f"{name} failed: {process.stderr}")
        if "--json" in command:
            (folder / "compare.json").write_text(process.stdout)


def digests(folder: Path) -> dict[str, str]:
    """The digest of every result below the folder, by its path."""
    digest_of: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".safetensors" or path.name == "supernet.pt":
            digest_of[name] = digest_of_tensors(path)
        elif path.name in RESULTS:
            content = without_measurements(json.loads(path.read_text()))
            digest_of[name] = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return digest_of


def main() -> None:
    """Run the experiments, print their digests, and write or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the digests to this JSON file")
    parser.add_argument(
        "--against", type=Path, help="compare with the digests of this JSON file; exit code 1 if any differs"
    )
    parser.add_argument("--keep", type=Path, help="run in this folder and keep it")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    run_experiments(folder)
    after = digests(folder)
    for name, value in after.items():
        print(f"{value}  {name}")
    if arguments.out:
        arguments.out.write_text(json.dumps(after, indent=1) + "\n")
    if arguments.against:
        before = json.loads(arguments.against.read_text())
        different = [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
        print(
            f"{len(before)} digests before, {len(after)} after, {len(different)} differ: {', '.join(different) or '-'}"
        )
        sys.exit(bool(different))


if __name__ == "__main__":
    main()
