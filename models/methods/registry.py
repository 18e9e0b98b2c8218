"""Every method that fills holes here: one list for `dps predict`, `dpseval run` and reports.

Nothing heavy is imported, so that command lines can name the methods.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from dpsdata.contracts import UsageError, did_you_mean
from models.baselines.official import DEEPFILLV2_NAMES, LICENCE, SCFEGAN
from models.baselines.sketchrefiner import official as sketchrefiner

ENTRY_POINT_GROUP: Final = "dps.methods"
TIME_LIMIT_S: Final = 600.0  # that a command may take a photo
_DPS_PAPER = "Yang et al., Deep Plastic Surgery, ECCV 2020"
_DEEPFILLV2_PAPER = "Yu et al., Free-Form Image Inpainting with Gated Convolution, ICCV 2019"
_SCFEGAN_PAPER = "Jo and Park, SC-FEGAN, ICCV 2019"
_DPS_LICENCE = "educational and research use, says the authors' page; trained on CelebA-HQ (non-commercial)"
_IMPORT = "get the official {what} (`dps weights list` says where) and run `dps weights import PATH`"
_TRAIN = "`dps train lite-{preset}-256 --data BUILT --out RUN` and pass RUN/weights as its weights"


@dataclass(frozen=True)
class Method:
    """One method, and what must be known of it before it runs.

    Attributes:
        name: its folder of outputs.
        title: for people.
        builder: `module:function` that makes its predictor, see `models.methods.predictor`.
        takes: what it reads, of photo, mask, sketch and color.
        has_level: whether it follows the refinement level; one without is written once, into METHOD/none.
        refines: whether it writes refined sketches.
        weight_names: registered official weights, the preferred first; empty where none exist.
        beside: registered files that each of these needs.
        stem: name of its file in a folder of weights; empty where it has none.
        resolution: side in px that its official weights run at; None for any.
        paper: where it is published.
        licence: of its official weights, or of its code where it has none.
        missing: why it may have no weights, and what helps.
        made_by: the method that writes its outputs, where that is another one.
        sketch_from: the method whose refined sketches it reads, where it reads no drawn ones.
        command: program, arguments and placeholders of a method that is run as a command.
    """

    name: str
    title: str
    builder: str
    takes: tuple[str, ...]
    has_level: bool = False
    refines: bool = False
    weight_names: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    stem: str = ""
    resolution: int | None = None
    paper: str = ""
    licence: str = ""
    missing: str = ""
    made_by: str | None = None
    sketch_from: str | None = None
    command: str = ""

    @property
    def takes_sketch(self) -> bool:
        """Whether lines guide it."""
        return "sketch" in self.takes

    @property
    def is_external(self) -> bool:
        """Whether it is a command, or an object of another package."""
        return self.builder.startswith("models.methods.external:")

    @property
    def needs_weights(self) -> bool:
        """Whether it is a network."""
        return bool(self.stem)


_DPS = Method(
    "dps",
    "Deep Plastic Surgery",
    "models.methods.dps:load_dps",
    ("photo", "mask", "sketch"),
    has_level=True,
    refines=True,
    weight_names=("dps-edit-g64", "dps-edit-g128", "dps-edit-g256", "dps-edit-f256"),
    stem="dps",
    resolution=256,
    paper=_DPS_PAPER,
    licence=_DPS_LICENCE,
    missing=f"{_IMPORT.format(what='files')}, or train with {_TRAIN.format(preset='edit')}",
)
_SCFEGAN = Method(
    "scfegan",
    "SC-FEGAN",
    "models.methods.scfegan:load_scfegan_method",
    ("photo", "mask", "sketch", "color"),
    weight_names=(SCFEGAN,),
    stem="scfegan",
    resolution=512,
    paper=_SCFEGAN_PAPER,
    licence=LICENCE,
    missing=f"{_IMPORT.format(what='SC-FEGAN.ckpt')}, or train with {_TRAIN.format(preset='scfegan')}",
)
_OPENCV = "Apache 2.0 (OpenCV); no weights"

METHODS: Final[dict[str, Method]] = {
    method.name: method
    for method in (
        _DPS,
        Method(
            "dps-g",
            "Deep Plastic Surgery, G's own photo",
            _DPS.builder,
            _DPS.takes,
            has_level=True,
            paper=_DPS_PAPER,
            licence=_DPS_LICENCE,
            missing="it is written together with dps",
            made_by="dps",
        ),
        Method(
            "deepfillv2",
            "DeepFillv2",
            "models.methods.deepfillv2:load_deepfillv2_method",
            ("photo", "mask"),
            weight_names=DEEPFILLV2_NAMES,
            stem="deepfillv2",
            paper=_DEEPFILLV2_PAPER,
            licence=LICENCE,
            missing=(
                f"{_IMPORT.format(what='release_celeba_hq_256_deepfill_v2')}, or train with "
                f"{_TRAIN.format(preset='deepfillv2')}"
            ),
        ),
        Method(
            "deepfillv2-guided",
            "DeepFillv2, guided by a sketch",
            "models.methods.deepfillv2:load_deepfillv2_method",
            ("photo", "mask", "sketch"),
            stem="deepfillv2-guided",
            paper=_DEEPFILLV2_PAPER,
            licence="no official weights exist",
            missing=f"its official weights were never released; train with {_TRAIN.format(preset='deepfillv2-guided')}",
        ),
        _SCFEGAN,
        Method(
            "scfegan-refined",
            "SC-FEGAN, fed with G's refined sketch",
            _SCFEGAN.builder,
            _SCFEGAN.takes,
            has_level=True,
            weight_names=_SCFEGAN.weight_names,
            stem="scfegan",
            resolution=512,
            paper=f"{_SCFEGAN_PAPER}, behind G of {_DPS_PAPER}",
            licence=LICENCE,
            missing=_SCFEGAN.missing,
            sketch_from="dps",
        ),
        Method(
            "sketchrefiner",
            "SketchRefiner",
            "models.methods.sketchrefiner:load_sketchrefiner_method",
            ("photo", "mask", "sketch"),
            weight_names=sketchrefiner.PAINTER_NAMES,
            beside=(sketchrefiner.REGISTRATION, sketchrefiner.ENHANCEMENT),
            stem="sketchrefiner",
            resolution=256,
            paper="Liu et al., Towards Interactive Image Inpainting via Robust Sketch Refinement, TMM 2024",
            licence=sketchrefiner.LICENCE,
            missing=_IMPORT.format(what="registrator.pth, connector.pth and celebahq.pth"),
        ),
        Method(
            "mean-color",
            "Mean colour of the known pixels",
            "models.methods.classical:load_mean_color",
            ("photo", "mask"),
            licence="no weights",
        ),
        Method(
            "telea",
            "OpenCV inpainting after Telea",
            "models.methods.classical:load_telea",
            ("photo", "mask"),
            paper="Telea, An Image Inpainting Technique Based on the Fast Marching Method, 2004",
            licence=_OPENCV,
        ),
        Method(
            "navier-stokes",
            "OpenCV inpainting after Navier-Stokes",
            "models.methods.classical:load_navier_stokes",
            ("photo", "mask"),
            paper="Bertalmio et al., Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting, CVPR 2001",
            licence=_OPENCV,
        ),
    )
}


_COMMAND = re.compile(r"(?P<name>[^=]*)=exec:(?P<command>.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_ONE_PHOTO, _WHOLE_FOLDER = ("photo", "out", "mask", "sketch"), ("photos", "outs", "masks", "sketches")


def find_method(name: str) -> Method:
    """Return a method of the registry, of an installed package, or one that is given as a command.

    Args:
        name: a name of `METHODS`; that of an entry point of the group `dps.methods`; or NAME=exec:CMD. CMD is split
            into words as a shell would, but no shell runs. In its words {photo}, {mask}, {sketch} and {out} stand for
            PNG files, or {photos}, {masks}, {sketches} and {outs} for folders of them, and {level} for the number.

    Raises:
        UsageError: no such method, or a command that cannot be run; those that exist are named.
    """
    if name in METHODS:
        return METHODS[name]
    if found := _COMMAND.fullmatch(name):
        return _read_command(found["name"].strip(), found["command"])
    names = sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)} - set(METHODS))
    if name not in names or not _NAME.fullmatch(name):
        hint = did_you_mean(name, (*METHODS, *names))
        raise UsageError(
            f"method: {hint}expected one of {', '.join((*METHODS, *names))}, got {name!r}; NAME=exec:CMD runs a command"
        )
    return Method(
        name,
        name,
        "models.methods.external:load_entry_point",
        ("photo", "mask", "sketch"),
        has_level=load_object(find_entry_point(name)).takes_level,
    )


def list_methods() -> tuple[str, ...]:
    """Names of the methods that come with the package, then those of installed packages."""
    return tuple(dict.fromkeys((*METHODS, *sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP)))))


def _read_command(name: str, command: str) -> Method:
    if not _NAME.fullmatch(name) or name in METHODS:
        taken = "it is taken" if name in METHODS else "expected letters, digits and . _ + -"
        raise UsageError(f"method: NAME=exec:CMD: {name!r} is not a valid name for a new method: {taken}")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{name}: exec: {command!r} cannot be split into words: {error}") from None
    if not words:
        raise UsageError(f"{name}: exec: expected a command such as 'python fill.py {{photo}} {{mask}} {{out}}'")
    used = set(re.findall(r"\{(\w+)\}", " ".join(words)))
    kinds = [kind for kind in (_ONE_PHOTO, _WHOLE_FOLDER) if used & set(kind)]
    unknown = sorted(used - {*_ONE_PHOTO, *_WHOLE_FOLDER, "level"})
    if unknown or len(kinds) != 1 or not {kinds[0][0], kinds[0][1]} <= used:
        raise UsageError(
            f"{name}: exec: expected {{photo}} and {{out}}, with {{mask}}, {{sketch}} and {{level}} where it reads "
            f"them, or {{photos}} and {{outs}} with {{masks}} and {{sketches}}; got {command!r}"
            + (f", where {{{unknown[0]}}} means nothing" if unknown else "")
        )
    takes = [
        part
        for part, one, many in zip(
            ("photo", "mask", "sketch"), ("photo", "mask", "sketch"), ("photos", "masks", "sketches"), strict=True
        )
        if {one, many} & used
    ]
    return Method(
        name, name, "models.methods.external:load_command", tuple(takes), has_level="level" in used, command=command
    )


def default_weights(method: Method) -> str:
    """`official` where official weights of a method are installed, else `bundled`.

    Of Deep Plastic Surgery all files must be there, of a baseline any one with those that it needs beside it.
    """
    from dpsdata.weights import installed

    wanted = all if method.name == "dps" else any
    is_there = wanted(map(installed, method.weight_names)) and all(map(installed, method.beside))
    return "official" if method.weight_names and is_there else "bundled"


def find_entry_point(name: str) -> EntryPoint:
    """The entry point of this name; raise UsageError where there is none, or where two packages have it."""
    points = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if len({point.value for point in points}) != 1:
        found = " and ".join(sorted(point.value for point in points)) or "none"
        raise UsageError(f"method: expected one entry point {name!r} of the group {ENTRY_POINT_GROUP}, got {found}")
    return points[0]


def load_object(point: EntryPoint) -> Any:
    """What an entry point names, with its `name` and `takes_level` checked; raise UsageError with the reason."""
    try:
        found = point.load()
    except Exception as error:
        raise UsageError(
            f"{point.name}: {point.value} could not be imported: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    if getattr(found, "name", None) != point.name:
        raise UsageError(f"{point.name}: {point.value} calls itself {getattr(found, 'name', None)!r}; use one name")
    if not isinstance(getattr(found, "takes_level", None), bool):
        raise UsageError(f"{point.name}: {point.value} needs an attribute takes_level that is True or False")
    return found
