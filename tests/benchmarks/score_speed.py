"""5 levels x 3 methods x N photos, all distinct: `dpseval.score` against chaining torch-fidelity, lpips and
scikit-image folder by folder, with the same random weights; processor time of one thread each.

python tests/benchmarks/score_speed.py [--photos 100] [--out FILE] [--before CHECKOUT]   exit code 4 below the bar

With --before, an earlier checkout scores the same folders instead of the chain: what the metrics since then cost, and
what the protocols of other papers add; this goes into the key `since` of the file.

Ours also finds edges, faithfulness, hedps, fd_hed, intervals and paired tests in that time; the chain does not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.dataset import BuildConfig, build_dataset  # noqa: E402
from dpsdata.dataset.torch_dataset import EditDataset  # noqa: E402
from dpsdata.images.codec import encode_png, read_photo, tensor_to_photo  # noqa: E402
from dpsdata.runtime.device import keyed_generator  # noqa: E402
from dpsdata.samples import write_sample_faces  # noqa: E402
from dpsdata.weights import import_weights  # noqa: E402

BARS = {"speedup": 2.0, "now_to_before": 1.1, "all_to_before": 1.5}
METHODS, LEVELS = ("dps", "other", "third"), (0.0, 0.25, 0.5, 0.75, 1.0)
SIZE = 256


def make_folders(folder: Path, count: int, size: int = SIZE) -> tuple[Path, Path]:
    """A built folder of drawn faces, and outputs whose holes are blurred and noisy, each in its own way."""
    write_sample_faces(folder / "faces", count, 0)
    built, outputs = folder / "built", folder / "outputs"
    build_dataset(
        BuildConfig(source=folder / "faces", out=built, size=size, masks=("dps",), split="ratio:0,0,1", workers=1)
    )
    dataset = EditDataset(built, "all", "dps")
    for index in range(len(dataset)):
        sample = dataset[index]
        photo, hole = tensor_to_photo(sample["photo"][None])[0], sample["mask"][0].numpy() == 1
        for place, (method, level) in enumerate((method, level) for method in METHODS for level in LEVELS):
            noise = keyed_generator(0, sample["id"], f"{method}{level}").normal(0, 4 + place, photo.shape)
            blurred = cv2.GaussianBlur(photo, (0, 0), 1 + place / 4) + noise
            made = np.where(hole[..., None], np.clip(np.rint(blurred), 0, 255).astype(np.uint8), photo)
            path = outputs / method / f"l{level:g}" / f"{sample['id']}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(made))
    return built, outputs


def make_weights(folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """Random Inception and AlexNet, installed for ours and as files for the others."""
    import torchvision

    made = runpy.run_path(str(ROOT / "tests" / "dpseval" / "distribution" / "conftest.py"))
    inception = folder / "weights-inception-2015-12-05-6726825d.pth"
    torch.save(made["calibrated_state"](7), inception)
    torch.manual_seed(1)
    backbone = torchvision.models.alexnet(weights=None).state_dict()
    torch.save(backbone, folder / "alexnet.pth")
    import_weights(inception)
    import_weights(folder / "alexnet.pth")
    return inception, backbone


def run_chain(built: Path, outputs: Path, inception: Path, backbone: dict[str, torch.Tensor]) -> dict[str, float]:
    import lpips
    import torch_fidelity
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    seconds = {"torch-fidelity": 0.0, "lpips": 0.0, "scikit-image": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    taken = {key.removeprefix("features."): value for key, value in backbone.items() if key.startswith("features.")}
    own = net.net.state_dict()
    net.net.load_state_dict({key: taken[key.split(".", 1)[1]] for key in own})
    truth = built / "images"

    def to_tensor(photo: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1

    for folder in sorted(path for path in outputs.glob("*/l*") if path.is_dir()):
        start = time.process_time()
        with contextlib.redirect_stderr(io.StringIO()):
            torch_fidelity.calculate_metrics(
                input1=str(folder), input2=str(truth), cuda=False, fid=True, kid=True, verbose=False, cache=False,
                kid_subset_size=min(1000, len(list(folder.iterdir()))), batch_size=8,
                feature_extractor_weights_path=str(inception), save_cpu_ram=True,
            )  # fmt: skip
        seconds["torch-fidelity"] += time.process_time() - start
        start = time.process_time()
        with torch.no_grad():
            for path in sorted(folder.iterdir()):
                net(to_tensor(read_photo(truth / path.name)), to_tensor(read_photo(path)))
        seconds["lpips"] += time.process_time() - start
        start = time.process_time()
        for path in sorted(folder.iterdir()):
            first, second = read_photo(truth / path.name), read_photo(path)
            peak_signal_noise_ratio(first, second)
            structural_similarity(
                first, second, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
        seconds["scikit-image"] += time.process_time() - start
    return seconds


SCORE = """
import sys, time
from pathlib import Path
import cv2, torch
torch.set_num_threads(1); cv2.setNumThreads(1)
from dpseval import ScoreConfig, score
built, outputs, report, cache = map(Path, sys.argv[1:5])
more = {"protocols": tuple(sys.argv[5:])} if sys.argv[5:] else {}
config = ScoreConfig(out=report, cache=cache, require=("fid", "kid", "lpips"), prep="torch-fidelity", **more)
start = time.process_time()
score(outputs, built, config)
print(time.process_time() - start)
"""


def compare(before: Path, built: Path, outputs: Path, folder: Path) -> dict[str, float]:
    """Processor seconds of `score` as it is and as it was, each in a process of its own."""
    found = {}
    for name, tree, protocols in (("now", ROOT, ()), ("before", before, ()), ("all", ROOT, ("zits", "lama", "mat"))):
        places = (built, outputs, folder / f"report-{name}", folder / f"cache-{name}")
        told = [sys.executable, "-P", "-c", SCORE, *places, *protocols]
        path = os.environ | {"PYTHONPATH": str(tree)}
        ran = subprocess.run(list(map(str, told)), env=path, cwd=folder, capture_output=True, text=True, check=True)
        found[name] = round(float(ran.stdout.split()[-1]), 1)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks" / "score_speed.json")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ["DPS_HOME"] = str(folder / "home")
        inception, backbone = make_weights(folder)
        built, outputs = make_folders(folder, options.photos)
        if options.before:
            seconds = compare(options.before.resolve(), built, outputs, folder)
            ratios = {f"{name}_to_before": round(seconds[name] / seconds["before"], 3) for name in ("now", "all")}
            since = {"photos": options.photos, "cpu_seconds": seconds, **ratios}
            print(json.dumps(since))
            stored = json.loads(options.out.read_text()) if options.out.is_file() else {}
            options.out.write_text(json.dumps({**stored, "since": since}, indent=1) + "\n")
            return 4 if any(ratio > BARS[name] for name, ratio in ratios.items()) else 0
        from dpseval import ScoreConfig, score

        config = ScoreConfig(out=folder / "report", require=("fid", "kid", "lpips"), prep="torch-fidelity")
        times = []
        # Side by side, since each takes one thread and only its processor time counts.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            other = pool.submit(run_chain, built, outputs, inception, backbone)
            for _ in range(2):
                start = time.process_time()
                result = score(outputs, built, config)
                times.append(time.process_time() - start)
            chain = other.result()
        forwards = result.run.get("forwards")
    report = {
        "bars": BARS,
        "photos": options.photos,
        "sets": len(METHODS) * len(LEVELS),
        "torch": torch.__version__,
        "load_average": os.getloadavg(),
        "ours_cpu_seconds": round(times[0], 1),
        "ours_again_cpu_seconds": round(times[1], 1),
        "forwards_of_the_rerun": forwards,
        "chain_cpu_seconds": {name: round(value, 1) for name, value in chain.items()},
        "speedup": round(sum(chain.values()) / times[0], 2),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return 0 if report["speedup"] >= BARS["speedup"] else 4


if __name__ == "__main__":
    sys.exit(main())
