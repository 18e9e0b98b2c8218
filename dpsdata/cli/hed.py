"""The commands `dpsdata train-hed` and `dpsdata eval-hed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_Data = Annotated[Path, typer.Option("--data", help="BSDS500 folder: index.csv, train/, val/, test/.")]


def train_command(
    preset: Annotated[str, typer.Argument(help="compact (bundled for building), judge (for scoring), smoke.")],
    data: _Data,
    out: Annotated[Path, typer.Option(help="Run folder; an interrupted run there is resumed.")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Compute threads on a CPU; 0 for one per core.")] = 0,
) -> None:
    """Train a compact HED on BSDS500, and export it.

    On its train and val splits; exported as fp16 safetensors.
    """
    import torch

    from dpsdata.contracts import UsageError
    from dpsdata.hed.bsds.data import LabelledPhoto, read_bsds
    from dpsdata.hed.bsds.train import PRESETS, HEDTrainer, export_net
    from dpsdata.runtime.device import choose_device

    if preset not in PRESETS:
        raise UsageError(f"preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    if threads:
        torch.set_num_threads(threads)
    config = PRESETS[preset]
    samples = [*read_bsds(data, "train"), *read_bsds(data, "val")]
    where = choose_device(device)
    crops = sum(phase.crop_count for phase in config.phases)
    typer.echo(f"{preset}: width {config.width}, {crops:,} crops of {len(samples)} photos, on {where}, into {out}")
    trainer = HEDTrainer(config, [LabelledPhoto(item.photo(), item.boundaries()) for item in samples], out, where)
    path = export_net(trainer.run(), config, out, trainer.seconds)
    typer.echo(f"{path} ({path.stat().st_size / 1e6:.2f} MB)")
    typer.echo(f"next: dpsdata eval-hed --data {data} --weights {path}")


def eval_command(
    data: _Data,
    weights: Annotated[str, typer.Option(help="auto, a name of `weights list`, or a file.")] = "auto",
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    thresholds: Annotated[int, typer.Option(help="Number of thresholds.")] = 99,
    limit: Annotated[int | None, typer.Option(help="Use only the first N photos.")] = None,
    workers: Annotated[int, typer.Option(help="Processes for the matching.")] = 1,
    canny: Annotated[bool, typer.Option("--canny/--no-canny", help="Score Canny beside it.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write the scores as JSON too.")] = None,
) -> None:
    """Score an edge detector on BSDS500.

    NMS, thinning, one-to-one matching, ODS and OIS; and how crisp the maps are.
    """
    import json
    from dataclasses import asdict

    import numpy as np

    from dpsdata.hed.bsds.data import read_bsds
    from dpsdata.hed.bsds.evaluate import EvalConfig, canny_edge_map, evaluate_edges, measure_crispness
    from dpsdata.hed.loading import load_any_hed
    from dpsdata.runtime.files import write_text_atomic

    samples = read_bsds(data, split)[:limit]
    net = load_any_hed(weights)
    typer.echo(f"{net.origin.description} on {len(samples)} {split} photos")
    config = EvalConfig(threshold_count=thresholds)
    pairs = [(net.detect(item.photo()[None])[0], item.boundaries()) for item in samples]
    rows = {net.origin.name: evaluate_edges(pairs, config, workers)}
    crispness = float(np.nanmean([measure_crispness(edge_map) for edge_map, _ in pairs]))
    raw = evaluate_edges(pairs, EvalConfig(threshold_count=thresholds, nms=False, thin=False), workers)
    if canny:
        plain = ((canny_edge_map(item.photo()), item.boundaries()) for item in samples)
        rows["canny"] = evaluate_edges(plain, EvalConfig(threshold_count=thresholds, nms=False), workers)
    for name, scores in rows.items():
        at = f"threshold {scores.ods_threshold:.2f}, P {scores.ods_precision:.4f}, R {scores.ods_recall:.4f}"
        typer.echo(f"{name}: ODS {scores.ods:.4f} ({at}), OIS {scores.ois:.4f}, AP {scores.average_precision:.4f}")
    typer.echo(f"{net.origin.name}: average crispness {crispness:.4f}, ODS without NMS and thinning {raw.ods:.4f}")
    if out is not None:
        metadata: dict[str, object] = {"split": split, "weights_sha256": net.origin.sha256}
        metadata |= {"average_crispness": crispness, "ods_without_nms": raw.ods}
        write_text_atomic(
            out, json.dumps({**metadata, **{name: asdict(row) for name, row in rows.items()}}, indent=2) + "\n"
        )
        typer.echo(f"scores: {out}")
