"""Every method that fills holes here: one list for `dps predict`, `dpseval run` and reports.

Nothing heavy is imported, so that command lines can name the methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dpsdata.contracts import UsageError
from models.baselines.official import DEEPFILLV2_NAMES, LICENCE, SCFEGAN

NO_LEVEL: Final = "none"
_DPS_PAPER = "Yang et al., Deep Plastic Surgery, ECCV 2020"
_DEEPFILLV2_PAPER = "Yu et al., Free-Form Image Inpainting with Gated Convolution, ICCV 2019"
_SCFEGAN_PAPER = "Jo and Park, SC-FEGAN, ICCV 2019"
_DPS_LICENCE = "educational and research use, says the authors' page; trained on CelebA-HQ (non-commercial)"
_IMPORT = "get the official {what} (`dps weights list` says where) and run `dps weights import PATH`"
_TRAIN = "`dps train {preset} --data BUILT --out RUN` and pass RUN/weights as its weights"


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
        stem: name of its file in a folder of weights; empty where it has none.
        resolution: side in px that its official weights run at; None for any.
        paper: where it is published.
        licence: of its official weights, or of its code where it has none.
        missing: why it may have no weights, and what helps.
        made_by: the method that writes its outputs, where that is another one.
        sketch_from: the method whose refined sketches it reads, where it reads no drawn ones.
    """

    name: str
    title: str
    builder: str
    takes: tuple[str, ...]
    has_level: bool = False
    refines: bool = False
    weight_names: tuple[str, ...] = ()
    stem: str = ""
    resolution: int | None = None
    paper: str = ""
    licence: str = ""
    missing: str = ""
    made_by: str | None = None
    sketch_from: str | None = None

    @property
    def takes_sketch(self) -> bool:
        """Whether lines guide it."""
        return "sketch" in self.takes

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
    missing=f"{_IMPORT.format(what='files')}, or train with {_TRAIN.format(preset='tiny')}",
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


def find_method(name: str) -> Method:
    """Return the method of this name; raise UsageError naming those that exist."""
    try:
        return METHODS[name]
    except KeyError:
        raise UsageError(f"method: expected one of {', '.join(METHODS)}, got {name!r}") from None


def default_weights(method: Method) -> str:
    """`official` where official weights of a method are installed, else `bundled`.

    Of Deep Plastic Surgery all files must be there, of a rival any one.
    """
    from dpsdata.weights import installed

    wanted = all if method.name == "dps" else any
    return "official" if method.weight_names and wanted(map(installed, method.weight_names)) else "bundled"
