"""Bar: `tiny` on a built demo folder on two CPU cores: under 5 minutes, at least 3 dB over mean-colour filling, finite
losses, and a run that is killed and resumed gives the weights of the uninterrupted one.

    python tests/benchmarks/tiny_training.py [OUT.json]
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.dataset import BuildConfig, build_dataset  # noqa: E402
from dpsdata.dataset.torch_dataset import EditDataset  # noqa: E402
from dpsdata.samples import write_sample_faces  # noqa: E402
from models.editing.loading import load_editing_net  # noqa: E402
from models.training.engine.validation import hole_psnr  # noqa: E402

BARS = {"seconds_at_most": 300, "gain_db_at_least": 3.0}
PHOTO_COUNT = 12
TRAIN = (
    "import sys; from models.cli.train import train_command; import typer; app = typer.Typer(); "
    "app.callback()(lambda: None); app.command('train')(train_command); "
    "from dpsdata.runtime.command_line import run_and_exit; run_and_exit(app)"
)


def fill_mean_color(photo: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    known = 1 - mask
    mean = (photo * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
    return photo * known + mean * mask


def start(data: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    words = ["train", "tiny", "--data", str(data), "--out", str(out), "--device", "cpu", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    return subprocess.Popen([sys.executable, "-c", TRAIN, *words], env=environment, stdout=subprocess.DEVNULL)


def finish(process: subprocess.Popen[bytes]) -> None:
    if process.wait() != 0:
        raise SystemExit(f"training ended with {process.returncode}")


def weights_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "weights").glob("*.safetensors"))}


def stats_rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def check_resume(data: Path, folder: Path) -> dict[str, object]:
    """A short run, and the same one killed by SIGKILL four times: at any moment after its first checkpoints."""
    whole, killed = folder / "whole", folder / "killed"
    finish(start(data, whole, "--images-scale", "0.03"))
    kills = 0
    while True:
        process = start(data, killed, "--images-scale", "0.03", "--checkpoint-seconds", "0")
        before = (killed / "state.pt").stat().st_mtime_ns if (killed / "state.pt").exists() else 0
        while process.poll() is None and kills < 4:
            time.sleep(0.05)
            now = (killed / "state.pt").stat().st_mtime_ns if (killed / "state.pt").exists() else 0
            if now > before:
                time.sleep(0.4 + 0.37 * kills)
                process.send_signal(signal.SIGKILL)
                break
        if process.wait() == -signal.SIGKILL:
            kills += 1
            continue
        finish(process)
        break
    return {
        "kills": kills,
        "weights_equal": weights_bytes(whole) == weights_bytes(killed),
        "stats_equal": stats_rows(whole) == stats_rows(killed),
    }


@torch.no_grad()
def assess_net(weights: Path, built: Path) -> tuple[float, dict[float, float]]:
    """Mean PSNR in the hole, in dB: of the mean colour of what is known, and of F's photo by level."""
    net, data = load_editing_net(weights), EditDataset(built, "train")
    flats: list[float] = []
    scores: dict[float, list[float]] = {0.0: [], 0.5: [], 1.0: []}
    for index in range(len(data)):
        sample = data[index]
        photo, sketch, mask = sample["photo"][None], sample["sketch"][None], sample["mask"][None]
        flats.append(float(hole_psnr(fill_mean_color(photo, mask), photo, mask)))
        for level, found in scores.items():
            found.append(float(hole_psnr(net(photo, sketch, mask, level).inpainter_photo, photo, mask)))
    return sum(flats) / len(flats), {level: sum(found) / len(found) for level, found in scores.items()}


def run() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample_faces(folder / "faces", PHOTO_COUNT, seed=0)
        build_dataset(BuildConfig(source=folder / "faces", out=folder / "built", size=64, workers=1))
        began = time.monotonic()
        finish(start(folder / "built", folder / "run"))
        seconds = time.monotonic() - began
        rows = stats_rows(folder / "run")
        numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
        flat, scores = assess_net(folder / "run" / "weights", folder / "built")
        resume = check_resume(folder / "built", folder)
        results = json.loads((folder / "run" / "card.json").read_text())["results"]
    gain = {level: score - flat for level, score in scores.items()}
    finite = bool(numbers) and all(torch.isfinite(torch.tensor(numbers)).tolist())
    return {
        "bars": BARS,
        "cpu_count": os.cpu_count(),
        "load_average": os.getloadavg(),
        "seconds": round(seconds, 1),
        "hole_psnr_db": {level: round(score, 2) for level, score in scores.items()},
        "mean_color_psnr_db": round(flat, 2),
        "gain_db": {level: round(value, 2) for level, value in gain.items()},
        "losses_finite": finite,
        "resume": resume,
        "validation": results,
        "bars_met": {
            "seconds": seconds <= BARS["seconds_at_most"],
            "gain": min(gain.values()) >= BARS["gain_db_at_least"],
            "finite": finite,
            "resume": bool(resume["weights_equal"]) and bool(resume["stats_equal"]),
        },
    }


def main() -> int:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "reports/benchmarks/tiny_training.json"
    report = run()
    text = json.dumps(report, indent=1, default=float)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(out)
    print(text)
    print(f"written: {out}")
    return 0 if all(report["bars_met"].values()) else 4  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
