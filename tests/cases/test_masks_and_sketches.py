"""Mask and sketch files as people have them, made by the scripts beside this file, and what each must be read as."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from dpsdata.cli import app as dpsdata_app
from dpsdata.contracts import BrokenImageError, UsageError, check_levels, level_folder
from dpsdata.dataset import BuildConfig, build_dataset
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.torch_dataset import EditDataset
from dpsdata.images.codec import read_mask
from dpsdata.masks import make_mask
from dpsdata.masks.reading import read_mask_file
from dpsdata.runtime.command_line import run_app
from dpsdata.samples import write_sample_faces
from dpsdata.sketch.reading import read_sketch_file
from dpseval.pairing.files import MaskSource, PhotoFiles
from dpseval.scoring.pixel_workers import measure_photo
from models.editing.user_inputs import read_edit_inputs

HERE = Path(__file__).parent
SIZE = 256
BOX = np.zeros((SIZE, SIZE), np.bool_)
BOX[60:180, 60:160] = True
FACES = 6


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    out = tmp_path_factory.mktemp("faces")
    for path in write_sample_faces(folder, FACES, 0):
        Image.open(path).convert("RGB").resize((256, 256)).save(out / f"{path.stem}.png")  # the scripts look for PNGs
    return out


@pytest.fixture(scope="module")
def case(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            out = tmp_path_factory.mktemp(name)
            source = faces / "face_0001.png" if name in ("sketch_forms", "edit_inputs") else faces
            before, sys.argv = sys.argv, [name, str(out), str(source)]
            try:
                runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
            finally:
                sys.argv = before
            made[name] = out
        return made[name]

    return make


def save(path: Path, pixels: np.ndarray, **options: int) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


# --- masks: what is the hole ---------------------------------------------------------------------------------------

READ = {
    "apple": None,
    "values_0_1": "holds 0 and 1 only",
    "cutout": "transparent pixels are taken as the hole",
    "blue_layer": "painted pixels are taken as the hole",
    "black_layer": "painted pixels are taken as the hole",
    "brush_alpha": "painted pixels are taken as the hole",
    "labels": "holds 0 and 13 only",
    "directory_named_png": None,
}


@pytest.mark.parametrize(("form", "said"), READ.items())
def test_mask_forms(case: Callable[[str], Path], form: str, said: str | None) -> None:
    folder = case("mask_folder_forms") / form
    for number in range(1, 5):
        read = read_mask_file(folder / f"{number}.png")
        assert np.array_equal(read.pixels > 0, BOX)
        assert (said is None and read.notes == ()) or (said is not None and said in read.notes[0])
        # The build, predict and EditDataset read by the same rule.
        assert np.array_equal(make_mask(f"files:{folder}", SIZE, SIZE, 0, str(number)) == 1, BOX)


def test_a_photo_as_a_mask_is_refused(case: Callable[[str], Path]) -> None:
    folder = case("mask_folder_forms") / "photos"
    for path in sorted(folder.glob("*.png")):
        with pytest.raises(BrokenImageError, match="has the colours of a photo"):
            read_mask_file(path)
        grey = np.asarray(Image.open(path).convert("L"))
        with pytest.raises(BrokenImageError, match=r"not a mask but a photo|like a label map"):
            read_mask_file(save(path.parent.parent / "grey.png", grey))


def painted(color: tuple[int, int, int], opacity: int) -> np.ndarray:
    flat = np.full((SIZE, SIZE, 3), color, np.uint8)
    return np.dstack([flat, np.where(BOX, opacity, 0).astype(np.uint8)])


BROTHERS = {
    "red at 40 %": painted((255, 0, 0), 102),
    "dark green at 8 %": painted((0, 40, 0), 20),
    "nearly black at 20 %": painted((10, 8, 6), 51),
    "grey and alpha": np.dstack([np.zeros((SIZE, SIZE), np.uint8), np.where(BOX, 255, 0).astype(np.uint8)]),
    "blue on black": np.where(BOX[..., None], np.uint8([0, 0, 255]), np.uint8(0)),
    "dark red on black": np.where(BOX[..., None], np.uint8([60, 0, 0]), np.uint8(0)),
    "two colours": np.where(
        (np.arange(SIZE) < 110)[None, :, None], painted((255, 0, 0), 255), painted((0, 0, 255), 255)
    ),
    "two opacities": np.where((np.arange(SIZE) < 110)[None, :, None], painted((0, 0, 0), 255), painted((0, 0, 0), 102)),
    "16 bits of 0 and 1": BOX.astype(np.uint16),
    "16 bits of 0 and 255": BOX.astype(np.uint16) * 255,
    "16 bits of 0 and 65535": BOX.astype(np.uint16) * 65535,
    "1 bit": BOX,
    "a layer's opacity": np.dstack(
        [np.where(BOX, np.uint8(255), np.uint8(0))] * 3 + [np.full((SIZE, SIZE), 90, np.uint8)]
    ),
    "light grey and white": np.where(BOX, np.uint8(255), np.uint8(200)),
    "black sheet, cut": np.dstack([np.zeros((SIZE, SIZE, 3), np.uint8), np.where(BOX, 0, 255).astype(np.uint8)]),
}


@pytest.mark.parametrize("name", BROTHERS)
def test_other_mask_forms(tmp_path: Path, name: str) -> None:
    assert np.array_equal(read_mask_file(save(tmp_path / "m.png", BROTHERS[name])).pixels > 0, BOX)


@pytest.mark.parametrize("palette", [[0, 0, 0, 255, 255, 255], [0, 0, 0, 128, 0, 0]])
def test_masks_of_a_palette(tmp_path: Path, palette: list[int]) -> None:
    image = Image.fromarray(BOX.astype(np.uint8)).convert("P")
    image.putpalette(palette)
    image.save(tmp_path / "m.png")
    assert np.array_equal(read_mask_file(tmp_path / "m.png").pixels > 0, BOX)


def test_label_maps_and_colours_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    rows = np.arange(SIZE)[:, None] * np.ones((1, SIZE), np.int64)
    labels = (rows // 14).astype(np.uint8)
    colors = np.uint8([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [0, 128, 128]])[rows // 43]
    red_on_white = np.where(BOX[..., None], np.uint8([255, 0, 0]), np.uint8(255))
    flat = np.full((SIZE, SIZE), 128, np.uint8)
    for pixels, reason in (
        (labels, "label map"),
        (colors, "label map"),
        (red_on_white, "without a black ground"),
        (flat, "128 all over"),
    ):
        with pytest.raises(BrokenImageError, match=reason):
            read_mask_file(save(tmp_path / "m.png", pixels))


@pytest.mark.parametrize("dark", [(0, 128), (0, 100), (90, 200)])
@pytest.mark.parametrize("quality", [60, 90])
def test_two_greys_that_were_saved_with_loss(tmp_path: Path, dark: tuple[int, int], quality: int) -> None:
    pixels = np.where(BOX, np.uint8(dark[1]), np.uint8(dark[0]))
    read = read_mask_file(save(tmp_path / "m.jpg", pixels, quality=quality))
    assert (np.asarray(read.pixels > 0) == BOX).mean() > 0.999
    assert "is taken as the hole" in read.notes[0]


def test_photos_on_black_and_maps_of_three_levels_are_refused(faces: Path, tmp_path: Path) -> None:
    three = np.zeros((SIZE, SIZE), np.uint8)
    three[40:200, 40:200], three[90:110, 70:100] = 1, 2
    trimap = np.uint8([0, 128, 255])[three]
    for pixels in (three, trimap):
        with pytest.raises(BrokenImageError, match=r"as in a label map|like a label map"):
            read_mask_file(save(tmp_path / "m.png", pixels))
    for path in sorted(faces.glob("*.png")):
        photo = np.asarray(Image.open(path).convert("RGB"))
        with pytest.raises(BrokenImageError, match=r"tones of a photo|colours of a photo|label map"):
            read_mask_file(save(tmp_path / "m.png", np.where(BOX[..., None], photo, np.uint8(0))))
        dimmed = (photo * 0.35).astype(np.uint8)
        dimmed[BOX] = 255
        with pytest.raises(BrokenImageError):
            read_mask_file(save(tmp_path / "m.png", dimmed))


def test_a_soft_brush_on_a_layer_is_parted_as_one_on_black(tmp_path: Path) -> None:
    for sigma in (3, 8, 15):
        soft = cv2.GaussianBlur(np.where(BOX, np.uint8(255), np.uint8(0)), (0, 0), sigma)
        painted_soft = np.dstack([np.full((SIZE, SIZE, 3), 255, np.uint8), soft])
        read = read_mask_file(save(tmp_path / "s.png", painted_soft)).pixels > 0
        assert (read == (soft > 127)).mean() > 0.98, sigma


def test_soft_masks_are_parted_in_the_middle_and_lossy_ones_are_read(tmp_path: Path) -> None:
    grey = np.where(BOX, np.uint8(255), np.uint8(0))
    soft = cv2.GaussianBlur(grey, (0, 0), 10)
    assert np.array_equal(read_mask_file(save(tmp_path / "s.png", soft)).pixels > 0, soft > 127)
    assert np.array_equal(read_mask_file(save(tmp_path / "m.jpg", grey, quality=60)).pixels > 0, BOX)


def test_the_blue_stroke_that_touches_the_border(case: Callable[[str], Path]) -> None:
    folder = case("edit_inputs")
    expected = np.zeros((SIZE, SIZE), np.bool_)
    expected[0:70, 30:220] = True
    assert np.array_equal(read_mask_file(folder / "blue_top.png").pixels > 0, expected)
    for name, total in (("mask.png", 80 * 60), ("big.png", 220 * 200)):
        read = read_mask_file(folder / name)
        assert (int((read.pixels > 0).sum()), read.notes) == (total, ())


# --- masks: whose are they -----------------------------------------------------------------------------------------

PAIRED = ("same", "upper", "folder_prefix")
REFUSED = {
    "suffix": "6 of 6 photos have no mask: 00001 would be 00001.png, and the folder holds 6, such as 00001_mask.png",
    "lama": "6 of 6 photos have no mask: 00001 would be 00001.png, and the folder holds 6, such as 00001_mask001.png",
    "zeros_dropped": "6 of 6 photos have no mask: 00001 would be 00001.png, and the folder holds 6, such as 1.png",
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(source: Path, *masks: str, out: Path | None = None) -> Path:
        out = out or tmp_path_factory.mktemp("built") / "out"
        build_dataset(BuildConfig(source=source, out=out, size=64, masks=masks, split="ratio:1,0,0", workers=1))
        return out

    return make


@pytest.mark.parametrize("way", PAIRED)
def test_masks_find_their_photos(case: Callable[[str], Path], way: str) -> None:
    folder = case("mask_pairing") / way
    prefix = "CelebA-HQ-img__" if way == "folder_prefix" else ""
    for number in range(1, FACES + 1):
        mask = make_mask(f"files:{folder / 'masks'}", SIZE, SIZE, 0, f"{prefix}{number:05d}")
        expected = np.zeros((SIZE, SIZE), np.uint8)
        expected[40 * (number - 1) : 40 * number, 100:140] = 1
        assert np.array_equal(mask, expected)


def run_build(source: Path, out: Path, masks: str) -> int:
    return run_app(dpsdata_app, ["build", str(source), str(out), "--size", "64", "--masks", masks, "--workers", "1"])


@pytest.mark.parametrize(("way", "reason"), REFUSED.items())
def test_names_that_are_no_ids_are_refused(
    case: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str, reason: str
) -> None:
    folder = case("mask_pairing") / way
    assert run_build(folder / "photos", tmp_path / "out", f"files:{folder / 'masks'}") == 2
    said = capsys.readouterr().err
    assert reason in said
    assert f"pool:{folder / 'masks'}" in said
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_and_a_photo_without_a_mask_are_refused(
    case: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forms = case("mask_folder_forms")
    assert run_build(forms / "photos", tmp_path / "out", f"files:{forms / 'mixed_png_jpg'}") == 2
    assert "4 of 4 photos have more than one mask: 1 has 1.jpg, 1.png" in capsys.readouterr().err
    pairing = case("mask_pairing")
    assert run_build(pairing / "folder_prefix/photos", tmp_path / "out", f"files:{pairing / 'same/masks'}") == 2
    assert "1 of 7 photos have no mask: other__x" in capsys.readouterr().err


def test_a_pool_has_no_hidden_files(case: Callable[[str], Path]) -> None:
    folder = case("mask_folder_forms") / "apple_pool"
    for number in range(20):
        assert np.array_equal(make_mask(f"pool:{folder}", SIZE, SIZE, 0, f"photo{number}") == 1, BOX)


def test_twins_are_told_apart_in_one_build_and_against_another(
    case: Callable[[str], Path], build: Callable[..., Path], tmp_path: Path
) -> None:
    twins = shutil.copytree(case("mask_folder_twins"), tmp_path / "twins")
    one, two = (f"files:{twins / name / 'masks'}" for name in ("A", "B"))
    built = build(twins / "photos", one)
    columns = {one: slice(5, 15), two: slice(45, 60)}

    def holes(folder: Path, family: str) -> None:
        expected = np.zeros((64, 64), np.float32)
        expected[:, columns[family]] = 1
        for item in EditDataset(folder, "all", masks=family):  # type: ignore[attr-defined]
            assert np.array_equal(item["mask"][0].numpy(), expected), family

    holes(built, one)
    holes(built, two)
    sources = read_dataset(built)["stages"][-1]["options"]["sources"]
    assert sources["files-masks"]["family"] == one
    assert EditDataset(built, "all", masks=one).mask_key == sources["files-masks"]["key"]
    assert EditDataset(built, "all", masks=two).mask_key != sources["files-masks"]["key"]
    both = build(twins / "photos", one, two)
    assert len(list((both / "masks").iterdir())) == 2
    holes(both, one)
    holes(both, two)
    # Edited in place after the build.
    for path in (twins / "A/masks").glob("*.png"):
        shutil.copy(twins / "B/masks" / path.name, path)
    columns[one] = columns[two]
    holes(built, one)
    # The folder is on another machine: what was built from it is meant.
    shutil.rmtree(twins / "A")
    columns[one] = slice(5, 15)
    holes(built, one)


def test_an_empty_mask_is_in_errors_csv_until_it_is_painted(case: Callable[[str], Path], tmp_path: Path) -> None:
    forms = case("mask_folder_forms")
    masks = shutil.copytree(forms / "apple", tmp_path / "masks")
    save(masks / "2.png", np.zeros((SIZE, SIZE), np.uint8))
    out = tmp_path / "out"
    assert run_build(forms / "photos", out, f"files:{masks}") == 3
    assert "mask 2.png: it has no hole" in (out / "errors.csv").read_text()
    shutil.copy(forms / "apple/2.png", masks / "2.png")
    assert run_build(forms / "photos", out, f"files:{masks}") == 0
    assert np.array_equal(
        read_mask(out / "masks/files-masks/2.png") == 1, read_mask(out / "masks/files-masks/1.png") == 1
    )


def test_an_inverted_mask_is_a_warning_of_the_build(case: Callable[[str], Path], build: Callable[..., Path]) -> None:
    forms = case("mask_folder_forms")
    found = [
        item
        for item in read_dataset(build(forms / "photos", f"files:{forms / 'black_holes'}"))["warnings"]
        if item["kind"] == "mask-reading"
    ]
    assert [(item["count"], item["examples"]) for item in found] == [(4, ["1", "2", "3", "4"])]
    assert "looks inverted" in found[0]["reason"]


# --- sketches ------------------------------------------------------------------------------------------------------


def agreement(lines: np.ndarray, ink: np.ndarray) -> tuple[float, float]:
    """Recall and precision of ink within 2 px."""
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    mine, theirs = lines.astype(np.uint8), ink.astype(np.uint8)
    recall = (theirs & cv2.dilate(mine, near)).sum() / theirs.sum()
    return float(recall), float((mine & cv2.dilate(theirs, near)).sum() / max(1, mine.sum()))


NO_LINES = {"drawn_on_photo.png", "photo_itself.png"}
NOTED = {"filled_hair.png", "more_ink_than_paper.png"}


def test_sketch_forms(case: Callable[[str], Path]) -> None:
    folder = case("sketch_forms")
    ink = np.load(folder / "ink.npy")
    paths = [path for path in sorted(folder.iterdir()) if path.suffix != ".npy"]
    assert len(paths) > 40
    for path in paths:
        if path.name in NO_LINES:
            with pytest.raises(BrokenImageError, match="not a line drawing"):
                read_sketch_file(path)
            continue
        read = read_sketch_file(path)
        if path.name in NOTED:
            assert any("read as ink" in note for note in read.notes), path.name
            continue
        expected = np.asarray(Image.open(path)) == 0 if path.name == "thick_lines.png" else ink
        assert min(agreement(read.pixels == 0, expected)) > 0.95, path.name


def draw(width: int = 2) -> np.ndarray:
    image = Image.new("L", (4 * SIZE, 4 * SIZE))
    pen = ImageDraw.Draw(image)
    pen.ellipse([240, 160, 784, 904], outline=255, width=4 * width)
    pen.line([80, 80, 240, 800], fill=255, width=4 * width)
    pen.line([800, 0, 1020, 400], fill=255, width=4 * width)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX)).astype(np.float64)[..., None] / 255


def papers() -> dict[str, np.ndarray]:
    """Grounds of other kinds, with how much of the light the ink takes."""
    rng = np.random.default_rng(1)
    y, x = (axis[..., None] / (SIZE - 1) for axis in np.mgrid[:SIZE, :SIZE])
    grain = rng.normal(0, 4, (SIZE, SIZE, 1)) + np.zeros(3)
    ink = 1 - 0.75 * draw()
    graph, ruled = np.full((2, SIZE, SIZE, 3), 248.0)
    graph[::12], graph[:, ::12] = (190, 215, 240), (190, 215, 240)
    ruled[::16] = (180, 180, 180)
    ruled[:, 30] = (240, 120, 120)
    blue_pen = 1 - draw() * np.array([0.8, 0.7, 0.15])
    half = np.where(np.arange(SIZE)[None, :, None] < 128, 0, 205) * np.ones(3)
    fine = np.full((SIZE, SIZE, 3), 250.0)
    fine[::8], fine[:, ::8] = (200, 220, 245), (200, 220, 245)
    return {
        "light from above": (250 - 150 * y + grain) * ink,
        "falling off without grain": (240 - 130 * x + np.zeros(3)) * ink,
        "a hard shadow without grain": (np.where(y > 0.5, 110.0, 230.0) + np.zeros((1, SIZE, 3))) * ink,
        "a round shadow": (np.where((x - 0.6) ** 2 + (y - 0.6) ** 2 < 0.08, 115.0, 225.0) + grain) * ink,
        "overexposed on one side": (np.clip(340 - 200 * x, 0, 255) + grain) * ink,
        "a blue pen by side light": (240 - 110 * x + grain) * blue_pen,
        "a pale pencil by side light": (240 - 100 * x + grain) * (1 - 0.4 * draw()),
        "graph paper": (graph + grain) * ink,
        "ruled with a margin": ruled * ink,
        "an uneven blackboard": np.array([30, 55, 42]) * (1.4 - 0.8 * x) * ink + 200 * draw() * (1.2 - 0.5 * x),
        "a blueprint": np.array([20, 60, 150]) * (1 - draw()) + 240 * draw(),
        "fine squares": fine * ink,
        "a blue pen on strong rules": np.where(np.arange(SIZE)[:, None, None] % 20 == 0, (170.0, 190, 235), 252)
        * (1 - draw() * np.array([0.85, 0.75, 0.2])),
        "rules of two pixels, by side light": np.where(np.arange(SIZE)[:, None, None] % 20 < 2, (150.0, 170, 220), 245)
        * (ink * (1 - 0.4 * x)),
        "a legal pad": np.where(np.arange(SIZE)[:, None, None] % 26 < 3, (140.0, 170, 210), (250, 240, 150)) * blue_pen,
        "black and pale": 255 * (1 - draw()) + half * draw(),
    }


@pytest.mark.parametrize("name", papers())
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_other_papers(tmp_path: Path, name: str, suffix: str) -> None:
    pixels = np.clip(papers()[name], 0, 255).astype(np.uint8)
    path = save(tmp_path / f"s.{suffix}", pixels, **({"quality": 88} if suffix == "jpg" else {}))
    assert min(agreement(read_sketch_file(path).pixels == 0, draw()[..., 0] > 0.5)) > 0.95


def stripes(width: int) -> np.ndarray:
    """A head over a striped shirt: the stripes are drawn as the head is."""
    image = Image.new("L", (4 * SIZE, 4 * SIZE))
    pen = ImageDraw.Draw(image)
    pen.ellipse([240, 80, 784, 560], outline=255, width=4 * width)
    for y in range(600, 1000, 56):
        pen.line([40, y, 984, y], fill=255, width=4 * width)
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX)).astype(np.float64) / 255


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("is_light", [False, True])
def test_drawn_stripes_are_no_rules(tmp_path: Path, width: int, is_light: bool) -> None:
    cover = stripes(width)
    path = save(tmp_path / "s.png", (255 * cover if is_light else 255 - 255 * cover).astype(np.uint8))
    assert min(agreement(read_sketch_file(path).pixels == 0, cover > 0.4)) > 0.95


def test_chalk_lines_that_lie_close_are_the_lines(tmp_path: Path) -> None:
    cover, x = stripes(2), np.linspace(0, 1, SIZE)
    board = (50 + 40 * x)[None] * (1 - cover) + 220 * cover
    read = read_sketch_file(save(tmp_path / "s.png", board.astype(np.uint8)))
    assert min(agreement(read.pixels == 0, cover > 0.5)) > 0.95


def test_a_dotted_line_on_a_photographed_paper_is_kept(tmp_path: Path) -> None:
    image = Image.new("L", (SIZE, SIZE))
    for angle in np.linspace(0, 2 * np.pi, 90):
        x, y = 128 + 80 * np.cos(angle), 128 + 80 * np.sin(angle)
        ImageDraw.Draw(image).ellipse([x - 1, y - 1, x + 1, y + 1], fill=255)
    cover = np.asarray(image) / 255
    paper = 235 - 90 * np.linspace(0, 1, SIZE)[None] + np.random.default_rng(0).normal(0, 3, (SIZE, SIZE))
    read = read_sketch_file(save(tmp_path / "s.png", np.clip(paper * (1 - 0.75 * cover), 0, 255).astype(np.uint8)))
    assert min(agreement(read.pixels == 0, cover > 0)) > 0.95


def test_panels_are_read_as_files_of_their_own(tmp_path: Path, faces: Path) -> None:
    photo = np.asarray(Image.open(faces / "face_0001.png").resize((SIZE, SIZE)))
    blue = np.rint(255 * (1 - draw() * np.array([1, 1, 0]))).astype(np.uint8)
    mask = np.where(BOX[..., None], np.uint8([0, 0, 255]), np.uint8(0))
    panels = save(tmp_path / "p.png", np.concatenate([photo, blue, mask], axis=1)).read_bytes()
    parts = [save(tmp_path / f"{n}.png", pixels).read_bytes() for n, pixels in enumerate((photo, blue, mask))]
    joined, apart = read_edit_inputs(panels, None, None), read_edit_inputs(*parts)
    assert np.array_equal(joined.photo, photo)
    assert np.array_equal(joined.sketch, apart.sketch)
    assert np.array_equal(joined.mask > 0, BOX)
    assert min(agreement(joined.sketch == 0, draw()[..., 0] > 0.5)) > 0.95


# --- levels --------------------------------------------------------------------------------------------------------


def test_levels_that_a_name_cannot_tell() -> None:
    assert str(check_levels((-0.0, 0.0, 1))) == "(0.0, 1.0)"
    assert [level_folder(level) for level in (-0.0, 1e-9, 0.25)] == ["l0", "l1e-09", "l0.25"]
    for levels in ((0.1234567, 0.12345671), (1, 0.99999999), (5e-9, 5.0000001e-9), (float("nan"),), (-1e-9,)):
        with pytest.raises(UsageError, match=r"would both be written as l|expected a number in \[0, 1\]"):
            check_levels(levels)


@pytest.mark.parametrize("form", ["white_on_black", "pencil_200_on_white", "blue_on_transparent", "paper_side_light"])
def test_scores_read_a_drawn_sketch_as_predictions_do(case: Callable[[str], Path], tmp_path: Path, form: str) -> None:
    source = next(case("sketch_forms").glob(f"{form}.*"))
    drawn = tmp_path / "a.png"
    Image.open(source).save(drawn)
    truth = save(tmp_path / "truth.png", np.full((SIZE, SIZE, 3), 90, np.uint8))
    mask = MaskSource("x", 0, packed=np.packbits(BOX))
    read = measure_photo(PhotoFiles("a", SIZE, truth, mask, drawn, True, ())).sketch
    assert read is not None
    assert np.array_equal(read == 1, read_sketch_file(drawn).pixels == 0)
    assert min(agreement(read == 1, np.load(case("sketch_forms") / "ink.npy"))) > 0.95
