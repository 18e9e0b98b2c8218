"""Ten minutes of one GPU without a network: F, then G of 256 px, from the bundled ones, with the speed of each.

python tests/benchmarks/gpu_day.py pack BUILT PACK [--first PATTERN ...] [--megabytes 24]
python tests/benchmarks/gpu_day.py run PACK OUT [--seconds 540] [--device cuda] [--batch 64] [--set KEY=VALUE ...]

`pack`, on any machine, keeps photos of the splits train and val as WebP of quality 80, those whose ID matches a
pattern first, so that they travel with the code. `run`, on the GPU, builds them, measures images a second, and gives
F and G half each of the seconds that are left; GPUs hold the photos as bytes in memory, since to copy a batch takes a
hundredth of a step. OUT gets at most seven files: `F256.safetensors` and `G256.safetensors` (fp16), `bundled.json`,
`training.json`, `stats.jsonl`, and the last sheet of each. The first two with their hashes are a folder of weights.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from dpsdata.dataset import BuildConfig, build_dataset  # noqa: E402
from dpsdata.dataset.torch_dataset import EditDataset  # noqa: E402
from dpsdata.images.codec import read_photo  # noqa: E402
from models.training.catalogue import make_trainer, read_training  # noqa: E402
from models.training.export import export_run  # noqa: E402
from models.weights.bundled import BUNDLED_FOLDER  # noqa: E402

CONFIG = BUNDLED_FOLDER / "edit" / "training.toml"
PROBES = (4, 16)  # steps of a short and a longer run; what lies between is the speed
RESERVE = 0.1  # of the seconds, for validations and files
QUALITY = 80


def pack(built: Path, out: Path, first: Sequence[str], megabytes: float) -> dict[str, int]:
    """Photos of a built dataset as small files, in folders of their splits; returns how many of each."""
    counts, left = {}, megabytes * 2**20
    for split, share in (("val", 0.05), ("train", 1.0)):  # validation looks at 48 photos
        dataset = EditDataset(built, split)
        order = sorted(dataset.ids, key=lambda name: (not any(fnmatchcase(name, each) for each in first), name))
        budget, counts[split] = left * share, 0
        (out / split).mkdir(parents=True, exist_ok=True)
        for name in order:
            photo = read_photo(dataset.files.source(f"images/{name}.png"))
            bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
            data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()
            if len(data) > budget:
                break
            budget, left = budget - len(data), left - len(data)
            (out / split / f"{name}.webp").write_bytes(data)
            counts[split] += 1
    return counts


def settings(size: int, batch: int, images: tuple[int, int], masks: int) -> list[str]:
    """What a GPU trains otherwise than the config says: large batches, slowly averaged."""
    told = [f"resolution={size}", "ema_halflife_images=10000", f"warmup_images={50 * batch}"]
    told += [f"cooldown_images={min(images) // 4}", f"validation_images={max(images)}", "log_images=6400"]
    for number, count in enumerate(images):
        told += [f"stage.{number}.{key}={value}" for key, value in
                 (("images", count), ("batch", batch), ("masks", masks))]  # fmt: skip
    return [*told, f"stage.1.network='G{size}'", f"stage.1.level1_images={min(images[1] // 20, 8000) // batch * batch}"]


def train(built: Path, out: Path, told: list[str], device: str, first_weights: str | None) -> float:
    """Run one training; returns its seconds."""
    precision = "bf16" if device == "cuda" else "fp32"
    options = {"device": device, "precision": precision, "perceptual": "hed-compact-unit", "init_from": first_weights}
    trainer = make_trainer(read_training(str(CONFIG), told), built, out, **options)
    begun = time.monotonic()
    trainer.run()
    return time.monotonic() - begun


def probe(built: Path, folder: Path, size: int, args: argparse.Namespace, first: str | None) -> dict[str, float]:
    """Images a second of F and of G."""
    speeds = {}
    for part in range(2):
        seconds = []
        for steps in PROBES:
            images = [args.batch, args.batch]
            images[part] *= steps
            told = [*settings(size, args.batch, (images[0], images[1]), 64), "validation_count=1", *args.set]
            run = folder / f"probe-{part}-{steps}"
            seconds.append(train(built, run, told, args.device, first))
            shutil.rmtree(run)
        speeds["FG"[part]] = (PROBES[1] - PROBES[0]) * args.batch / max(seconds[1] - seconds[0], 1e-3)
    return speeds


def run(args: argparse.Namespace) -> dict[str, float]:
    """Build, measure, train, export; returns the speeds and how many images each network saw."""
    begun = time.monotonic()
    # Another size is for tests, and begins with networks that have learned nothing.
    first = "bundled" if args.size == 256 else None
    args.set += [] if first else ["stage.0.refined_share=0"]
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        built, work = Path(folder) / "built", Path(folder) / "run"
        build_dataset(BuildConfig(source=args.pack, out=built, size=args.size, masks=("dps",), workers=0))
        train(built, Path(folder) / "first", settings(args.size, args.batch, (args.batch, args.batch), 64) + args.set,
              args.device, first)  # kernels are chosen and photos read for the first time  # fmt: skip
        speeds = probe(built, Path(folder), args.size, args, first)
        left = (args.seconds - (time.monotonic() - begun)) * (1 - RESERVE) / 2
        images = [max(1, int(speed * left) // args.batch) * args.batch for speed in speeds.values()]
        print(f"images a second: {speeds}; images: {images}", flush=True)
        told = settings(args.size, args.batch, (images[0], images[1]), 4096)
        train(built, work, [*told, *args.set], args.device, first)
        export_run(work, args.out)
        shutil.copy(work / "stats.jsonl", args.out)
        for part in ("F", "G"):
            shutil.copy(sorted(work.glob(f"samples/{part}*"))[-1], args.out)
    for card in args.out.glob("?256.json"):  # what they say stands in the files too
        card.unlink()
    return {f"{name}_images_a_second": round(speed, 1) for name, speed in speeds.items()} | {
        f"{name}_images": count for name, count in zip("FG", images, strict=True)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("built", type=Path)
    packing.add_argument("pack", type=Path)
    packing.add_argument("--first", action="append", default=[])
    packing.add_argument("--megabytes", type=float, default=24)
    running = commands.add_parser("run")
    running.add_argument("pack", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument("--seconds", type=float, default=540)
    running.add_argument("--device", default="cuda")
    running.add_argument("--batch", type=int, default=64)
    running.add_argument("--size", type=int, default=256)
    running.add_argument("--set", action="append", default=[])
    asked = parser.parse_args(arguments)
    print(pack(asked.built, asked.pack, asked.first, asked.megabytes) if asked.command == "pack" else run(asked))


if __name__ == "__main__":
    main()
