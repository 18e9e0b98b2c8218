"""`dpsdata`: sample, build, verify, export, preview, stats, perturb, masks, train-hed, eval-hed, weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from dpsdata import __version__
from dpsdata.cli.hed import eval_command, train_command
from dpsdata.cli.weights import weights_app
from dpsdata.contracts import FindingsError, parse_levels
from dpsdata.runtime.command_line import describe_room, run_and_exit

# Plain help: the coloured one loads half a second of libraries.
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(weights_app, name="weights")
masks_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Free-form and rectangular masks.")
app.add_typer(masks_app, name="masks")
app.command("train-hed")(train_command)
app.command("eval-hed")(eval_command)

Built = Annotated[Path, typer.Argument(metavar="OUT", help="A folder that `dpsdata build` made.")]
describe_room(app, __version__, "From a folder of faces to edge maps, sketches, levels and masks.")


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write into.")],
    count: Annotated[int, typer.Option(help="Number of faces: 24 as they are, then other views of them.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of their order and of the views; 0 keeps the order.")] = 0,
) -> None:
    """Write sample faces of people who do not exist, 512 px."""
    from dpsdata.samples import write_sample_faces

    paths = write_sample_faces(out, count, seed)
    others = sum(1 for _ in out.iterdir()) - len(paths)
    typer.echo(f"{len(paths)} faces in {out}" + (f", beside {others} other files there" if others else ""))
    typer.echo(f"next: dpsdata build {out} BUILT")


@app.command()
def build(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder, zip or address (s3://...) of aligned faces.")],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="Folder, or address for shards, to build into; an interrupted build there is resumed."
        ),
    ],
    size: Annotated[int, typer.Option(help="Side of the photos, 64 to 1024 px.")] = 256,
    resampler: Annotated[str, typer.Option(help="area, lanczos, bicubic or nearest.")] = "area",
    split: Annotated[
        str, typer.Option(help="auto, ratio[:T,V,T], last-N, file:LIST or celeba-partition[:MAPPING].")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of splits and masks.")] = 0,
    edges: Annotated[str, typer.Option(help="HED weights: auto, a name of `weights list`, or a file.")] = "auto",
    variant: Annotated[str, typer.Option(help="Form of HED to run the weights in, or auto.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, fp32-winograd (CPU, faster), or bf16.")] = "fp32",
    border: Annotated[str, typer.Option(help="own, or reflect as pix2pix does.")] = "own",
    device: Annotated[str, typer.Option(help="Where HED runs: cpu, cuda, or auto.")] = "cpu",
    masks: Annotated[list[str] | None, typer.Option(help="Mask families; give it once for each.")] = None,
    levels: Annotated[str, typer.Option(help="Store sketches dilated for these levels, such as 0,0.5,1.")] = "",
    workers: Annotated[int, typer.Option(help="Processes; 0 for one per core.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use only the first N photos.")] = None,
    max_errors: Annotated[int | None, typer.Option(help="Stop if more than this many photos are broken.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try broken photos again.")] = False,
    form: Annotated[
        str, typer.Option("--format", help="files, or webdataset: tar shards with a few thousand files in each.")
    ] = "files",
    shard_size: Annotated[int, typer.Option(help="Samples in a shard.")] = 1000,
    engine: Annotated[str, typer.Option(help="local, or ray: the actors of a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Address of a running Ray cluster; without it one is started.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished dataset that was built with other options.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 3 if there are warnings.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")] = False,
) -> None:
    """Build a dataset from a folder of faces.

    Photos, HED edge maps, thin sketches, levels, masks, splits and a manifest.
    """
    from dpsdata.dataset import BuildConfig

    config = BuildConfig(
        source=source,
        out=out,
        size=size,
        resampler=resampler,
        split=split,
        seed=seed,
        edges=edges,
        variant=variant,
        precision=precision,
        border=border,
        device=device,
        masks=tuple(part for item in masks for part in item.split(",") if part) if masks else ("dps", "deepfillv2"),
        levels=parse_levels(levels) if levels else (),
        workers=workers,
        limit=limit,
        max_errors=max_errors,
        retry_failed=retry_failed,
        overwrite=overwrite,
        format=form,
        shard_size=shard_size,
        engine=engine,
        address=address,
    )
    from dpsdata.dataset import describe_plan, estimate_build, plan_build, run_plan, worker_count
    from dpsdata.dataset.build import name_left_out
    from dpsdata.sources.remote import show_place

    plan = plan_build(config)
    for line in describe_plan(plan):
        typer.echo(line)
    for left in name_left_out(plan):
        typer.echo(f"warning: {left} will no longer be part of the dataset in {out}; the files stay there", err=True)
    if dry_run:
        estimate = estimate_build(plan, worker_count(config))
        typer.echo(
            f"would make {estimate.file_count:,} files for {estimate.sample_count:,} samples, "
            f"{estimate.byte_count / 1e6:,.3f} MB, in about {estimate.seconds / 60:.1f} minutes "
            f"with {worker_count(config)} workers; nothing was written"
        )
        return
    result = run_plan(plan)
    shown = show_place(out)
    typer.echo(
        f"{result.count:,} samples in {shown} ({result.reused_count:,} already there), {result.seconds:.0f} s\n"
        f"root hash {result.root_hash}"
    )
    typer.echo(f"next: dpsdata {'preview' if shown == str(out) else 'verify'} {shown}")
    for item in result.warnings:
        examples = ", ".join(item["examples"])
        typer.echo(f"warning: {item['reason']} ({item['count']:,} times, such as {examples})", err=True)
    if result.errors:
        path, reason = result.errors[0]
        raise FindingsError(
            f"{len(result.errors)} files of the source are not in the dataset, such as {path}: {reason}. "
            f"All reasons are in {show_place(out / 'errors.csv')}"
        )
    if strict and result.warnings:
        raise FindingsError(
            f"{shown}: {len(result.warnings)} warnings, which --strict does not allow; everything is built"
        )


@app.command()
def verify(
    out: Built,
    pairs: Annotated[int, typer.Option(help="Sketches to compute again from their edge maps.")] = 50,
) -> None:
    """Check every file of a built folder.

    Exit 3 if something is missing, extra, damaged or misaligned.
    """
    from dpsdata.dataset.verify import verify_dataset
    from dpsdata.sources.remote import show_place

    result = verify_dataset(out, pairs)
    for finding in result.findings:
        typer.echo(f"{finding.kind}: {finding.path}: {finding.reason}")
    kept = f", {result.kept_count:,} files kept from builds with other options" if result.kept_count else ""
    typer.echo(f"{result.sample_count:,} samples, {result.file_count:,} files checked{kept}")
    if result.findings:
        raise FindingsError(f"{show_place(out)}: {len(result.findings)} findings")


@app.command()
def export(
    built: Annotated[Path, typer.Argument(metavar="BUILT", help="A folder that `dpsdata build` made.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder; an export there is finished.")],
    to: Annotated[str, typer.Option(help="webdataset, parquet or imagefolder.")],
    shard_size: Annotated[int, typer.Option(help="Samples in a tar shard or a parquet file.")] = 1000,
) -> None:
    """Export a built folder for other libraries.

    As WebDataset shards, Parquet or an image folder, with a dataset card.
    """
    from dpsdata.dataset.export import export_dataset

    result = export_dataset(built, out, to, shard_size)
    typer.echo(f"{result.count:,} samples in {result.file_count:,} files in {out}")
    typer.echo(f"next: open {out / 'README.md'}, or load it: datasets.load_dataset({str(out)!r})")


@app.command()
def preview(
    out: Built,
    count: Annotated[int, typer.Option(help="Samples to show.")] = 24,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet (.png or .jpg) of a few samples too.")
    ] = None,
) -> None:
    """Write one page that shows a built folder.

    Photo, edges, sketch, five levels, masks, counts and plots.
    """
    from dpsdata.dataset.preview import write_preview, write_sheet

    if sheet is not None:
        typer.echo(f"contact sheet: {write_sheet(out, sheet)}")
    typer.echo(f"open {write_preview(out, count).resolve()}")


@app.command()
def stats(
    out: Built,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one row per sample as CSV.")] = False,
) -> None:
    """Print line density and hole ratios, for each split."""
    from dpsdata.dataset.statistics import sample_statistics, summarise

    table = sample_statistics(out)
    if as_csv:
        typer.echo(table.to_csv(index=False), nl=False)
    else:
        typer.echo(summarise(table).to_string(index=False, float_format=lambda value: f"{value:.2f}"))


@masks_app.command("stats")
def mask_stats(
    families: Annotated[list[str] | None, typer.Argument(help="Families; all when none is given.")] = None,
    count: Annotated[int, typer.Option(help="Masks to draw for each family.")] = 1000,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 256,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
) -> None:
    """Print the distribution of hole ratios, in percent of the photo."""
    from dpsdata.masks import MASK_FAMILIES
    from dpsdata.masks.statistics import mask_statistics

    table = mask_statistics(families or MASK_FAMILIES, count, size, seed)
    percent = table.set_index("family") * 100
    typer.echo(percent.to_string(float_format=lambda value: f"{value:.2f}"))


@masks_app.command("list")
def mask_list() -> None:
    """Print the names of the mask families."""
    from dpsdata.masks import MASK_FAMILIES

    typer.echo("\n".join([*MASK_FAMILIES, "files:DIR", "pool:DIR"]))


@app.command("perturb")
def perturb_command(
    built: Annotated[Path, typer.Argument(metavar="BUILT", help="Folder that `dpsdata build` made.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder of ID.png to write; an interrupted run there is resumed.")
    ],
    fault: Annotated[str, typer.Option(metavar="NAME", help="displaced, deformed, dropped or sketchrefiner.")],
    amount: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="How far lines move, in px of these sketches (deformed: root mean square; sketchrefiner: its "
            "max_move), or the share of the ink to drop.",
        ),
    ],
    split: Annotated[str, typer.Option(help="Name of a split, or all.")] = "all",
    seed: Annotated[int, typer.Option(help="Seed of the draws, which are keyed by the photo's id.")] = 0,
) -> None:
    """Degrade the sketches of a dataset in one chosen way."""
    from dpsdata.dataset.perturb import perturb_folder
    from dpsdata.sketch.perturb import Fault, Perturbation

    counts = perturb_folder(built, out, Perturbation(cast("Fault", fault), amount, seed), split)
    typer.echo(f"{counts.done_count} sketches {fault}, {counts.kept_count} already there")
    for name, reason in counts.failures:
        typer.echo(f"failed: {name}: {reason}", err=True)
    typer.echo(f"next: dpseval run {built} --masks dps --sketches {out} --split {split} -o REPORT")
    if counts.failures:
        raise FindingsError(f"{len(counts.failures)} sketches could not be read; they are named above")


def spread_masks(words: list[str]) -> list[str]:
    """`--masks A B C` as `--masks A --masks B --masks C`: people give several families at once."""
    if "--masks" not in words:
        return words
    from dpsdata.masks import MASK_FAMILIES, is_from_files

    spread: list[str] = []
    is_list = False
    for word in words:
        follows = is_list and spread[-2] == "--masks" and (word in MASK_FAMILIES or is_from_files(word))
        if follows and spread[-1] != "--masks":
            spread.append("--masks")
        spread.append(word)
        is_list = word == "--masks" or (is_list and not word.startswith("-"))
    return spread


def main() -> None:
    """Entry point of `dpsdata`."""
    run_and_exit(app, spread_masks(sys.argv[1:]))
