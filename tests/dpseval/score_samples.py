"""A small built folder of noise with lines, outputs of several methods, and a network that counts what it sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpsdata.dataset.manifest import ManifestRow, write_dataset
from dpsdata.images.codec import write_mask, write_photo, write_sketch

SIZE = 64
IDS = ("a", "b__c", "d", "e")


def make_truth(index: int) -> np.ndarray:
    generator = np.random.default_rng(index)
    small = generator.integers(0, 256, (8, 8, 3))
    return np.kron(small, np.ones((SIZE // 8, SIZE // 8, 1))).astype(np.uint8)


def make_mask_pixels(index: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[12 : 40 + index % 8, 16:44] = 1
    return mask


def make_built(folder: Path, ids: tuple[str, ...] = IDS) -> Path:
    for name in ("images", "sketches", "masks/dps"):
        (folder / name).mkdir(parents=True)
    rows = []
    for index, name in enumerate(ids):
        sketch = np.zeros((SIZE, SIZE), np.uint8)
        sketch[16 + index % 8, 10:60] = 1
        write_photo(folder / f"images/{name}.png", make_truth(index))
        write_sketch(folder / f"sketches/{name}.png", sketch)
        write_mask(folder / f"masks/dps/{name}.png", make_mask_pixels(index))
        rows.append(ManifestRow(name, "test", name, "", SIZE, SIZE, f"{index}", "", "", {"dps": "x"}, {}))
    write_dataset(folder, rows, {"size": SIZE, "config": {"seed": 0}, "stages": [], "splits": {}})
    return folder


def make_output(index: int, seed: int) -> np.ndarray:
    """The truth around the hole, and noise of its own in it."""
    generator = np.random.default_rng((seed, index))
    noise = generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    return np.where(make_mask_pixels(index)[..., None] == 1, noise, make_truth(index)).astype(np.uint8)


def make_outputs(
    folder: Path, ids: tuple[str, ...] = IDS, methods: tuple[str, ...] = ("ours",), levels: tuple[str, ...] = ("none",)
) -> Path:
    seed = 0
    for method in methods:
        for level in levels:
            seed += 1
            place = folder / method / level
            place.mkdir(parents=True)
            for index, name in enumerate(ids):
                write_photo(place / f"{name}.png", make_output(index, seed))
    return folder


def list_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class FakeNetwork:
    """Looks at the mean colours of 4 x 4 blocks; counts every photo that it is shown."""

    def __init__(self, name: str = "hedps", weights_id: str = "0" * 64, has_features: bool = True) -> None:
        self.name, self.weights_id, self.has_features = name, weights_id, has_features
        self.seen: list[bytes] = []

    def extract(self, photos):
        import torch

        from dpseval.scoring.network_readers import FeatureMaps

        self.seen += [photo.tobytes() for photo in photos]
        count, height, width = photos.shape[:3]
        blocks = photos.reshape(count, height // 4, 4, width // 4, 4, 3).mean(axis=(2, 4)).astype(np.float32) / 255
        lines = (np.abs(np.diff(photos[..., 0].astype(int), axis=2, prepend=0)) > 60).astype(np.uint8)
        packed = np.stack([np.packbits(item) for item in lines])
        features = {}
        if self.has_features:
            features = {"lines": packed, "vector": blocks.reshape(count, -1)[:, :24], "edges": photos[..., 0].copy()}
        return FeatureMaps([torch.from_numpy(blocks.transpose(0, 3, 1, 2).copy())], features)

    def distances(self, truth_maps, output_maps, regions):
        gap = float((truth_maps[0] - output_maps[0]).square().mean())
        return [{name: gap if region.any() else float("nan") for name, region in regions.items()}]


def fake_readers(scorer: FakeNetwork, lpips: tuple[FakeNetwork, ...] = (), counting_inception: bool = False):
    """A stand-in for `dpseval.scoring.networks.load_readers`."""
    import torch

    from dpseval.scoring.network_readers import FeatureExtractor, PairScorer, ReaderSetup
    from dpseval.scoring.networks import Readers, open_caches

    def load(config, missing):
        features, maps = open_caches(config)
        setup = ReaderSetup(features, maps, torch.device("cpu"), config.batch_size or 1)
        spaces = {}
        if counting_inception:
            spaces["inception"] = FeatureExtractor(
                "inception-fid", "1" * 64, config.prep, lambda photos: photos[:, ::8, ::8, 0].reshape(len(photos), -1)
                .astype(np.float32), setup
            )  # fmt: skip
        kept = {} if counting_inception else {name: note for name, note in missing.items() if name in ("fid", "kid")}
        if not lpips:
            kept |= {name: note for name, note in missing.items() if name.startswith("lpips")}
        return Readers(
            PairScorer(scorer, setup), tuple(PairScorer(item, setup) for item in lpips), spaces, kept, features, maps
        )

    return load
