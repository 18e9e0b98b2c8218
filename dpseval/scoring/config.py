"""What to score, and how: one frozen config, validated before any file is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dpsdata.contracts import UsageError, check_level, did_you_mean
from dpsdata.engines import check_engine
from dpseval.metrics.names import FACE_METRICS, IDENTITY_NETWORKS, PROTOCOLS, SPACES, check_prep
from dpseval.pairing.files import check_kinds
from dpseval.pairing.pairs import check_masks

LPIPS_NETS = ("alex", "vgg", "squeeze")
# What can be required, beyond what runs without downloads.
WEIGHTED_METRICS = (
    *(name for names in SPACES.values() for name in names),
    *FACE_METRICS,
    *(f"lpips_{net}" for net in LPIPS_NETS),
)
EMBEDDED_METRICS = ("psnr", "ssim", "l1", "hedps", "fd_hed", "kd_hed")


@dataclass(frozen=True)
class ScoreConfig:
    """Options of `score`, the same as those of `dpseval score`.

    Attributes:
        out: REPORT folder to write; None to write no report.
        methods: only these; empty for all that are there.
        levels: only these, besides methods without a level; empty for all.
        masks: mask family, `files:DIR` or a folder of ID.png; None for the one of the outputs' run.json.
        sketches: folder of ID.png; None for that of run.json, or else the stored sketches.
        split: name of a split, or `all`; None for that of run.json, or else the smallest that holds the outputs.
        identity: network that tells whether a person is still the person, `face-api` or `mobilefacenet`.
        prep: preprocessing of FID and KID, named after the tool that it equals.
        require: metrics that must be there; `lpips` stands for all of `lpips_nets`.
        lpips_nets: backbones of LPIPS: `alex`, `vgg`, `squeeze`.
        device: of the networks: `auto`, `cpu`, `cuda` or `cuda:N`.
        workers: processes that decode and measure pixels; 0 for one a core, 1 for none besides this one.
        seed: of intervals and of the choice of samples.
        cache: folder of features; None for the one beside the installed weights.
        use_cache: read and write features of earlier runs.
        allow: kinds of findings to tolerate; such items are left out, or named in the notes.
        protocols: also score as these publish it: `zits`, `lama`, `mat`.
        group_by: CSV with a column `id`; every other column groups the photos, and each group gets every metric.
        train: built folder of a training set, whose photos are searched for near-copies of the scored ones.
        engine: where pixels are measured: `local`, processes of this machine, or `ray`, actors of a cluster.
        address: of a running Ray cluster; None to start one here.
        batch_size: photos in one forward; 0 for one at a time on a CPU, so that no value depends on its neighbours,
            and 16 elsewhere.
        draw: whether tables and page are drawn at the end; False where `draw_report` follows.
    """

    out: Path | None = None
    methods: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    masks: str | None = None
    sketches: Path | None = None
    split: str | None = None
    prep: str = "pytorch-fid"
    require: tuple[str, ...] = ()
    lpips_nets: tuple[str, ...] = ("alex",)
    device: str = "auto"
    workers: int = 1
    seed: int = 0
    cache: Path | None = None
    use_cache: bool = True
    allow: tuple[str, ...] = ()
    batch_size: int = 0
    protocols: tuple[str, ...] = ()
    group_by: Path | None = None
    train: Path | None = None
    engine: str = "local"
    address: str | None = None
    draw: bool = True
    identity: str = IDENTITY_NETWORKS[0]

    def __post_init__(self) -> None:
        for name in ("out", "sketches", "cache", "group_by", "train"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        for name in ("methods", "levels", "require", "lpips_nets", "allow", "protocols"):
            if not isinstance(getattr(self, name), (tuple, list)):
                raise UsageError(f"{name.replace('_', '-')}: expected a tuple, got {getattr(self, name)!r}")
            if name != "levels" and not all(isinstance(item, str) for item in getattr(self, name)):
                raise UsageError(f"{name.replace('_', '-')}: expected texts, got {getattr(self, name)!r}")
        object.__setattr__(self, "methods", tuple(dict.fromkeys(self.methods)))
        object.__setattr__(self, "levels", tuple(sorted({check_level(level) for level in self.levels})))
        object.__setattr__(self, "lpips_nets", tuple(dict.fromkeys(self.lpips_nets)))
        object.__setattr__(self, "allow", check_kinds(self.allow))
        object.__setattr__(self, "masks", None if self.masks is None else check_masks(str(self.masks)))
        for net in self.lpips_nets:
            if net not in LPIPS_NETS:
                raise UsageError(f"lpips: expected {', '.join(LPIPS_NETS[:-1])} or {LPIPS_NETS[-1]}, got {net!r}")
        if self.identity not in IDENTITY_NETWORKS:
            raise UsageError(f"identity: expected {' or '.join(IDENTITY_NETWORKS)}, got {self.identity!r}")
        for name in self.protocols:
            if name not in PROTOCOLS:
                raise UsageError(f"as: expected zits, lama or mat, got {name!r}")
        check_prep(self.prep)
        check_engine(self.engine, self.address)
        for name in ("workers", "batch_size", "seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise UsageError(f"{name.replace('_', '-')}: expected a whole number of at least 0, got {value!r}")
        object.__setattr__(self, "require", self._required())

    def _required(self) -> tuple[str, ...]:
        names: list[str] = []
        for name in self.require:
            names += [f"lpips_{net}" for net in self.lpips_nets or LPIPS_NETS[:1]] if name == "lpips" else [name]
        for name in names:
            if name not in (*WEIGHTED_METRICS, *EMBEDDED_METRICS):
                hint = did_you_mean(name, (*WEIGHTED_METRICS, *EMBEDDED_METRICS))
                raise UsageError(f"require: {hint}expected fid, kid, fd_efflite, lpips or lpips_NET, got {name!r}")
            if name.startswith("lpips_") and name.removeprefix("lpips_") not in self.lpips_nets:
                raise UsageError(f"require: {name} is not measured; add --lpips {name.removeprefix('lpips_')}")
        return tuple(dict.fromkeys(names))
