"""Make the faces of dpsdata/samples/faces, or candidates to choose others from.

The generator is that of the PyPI package `random-face` 2021.7.21.1 (Apache-2.0): a small network distilled from
StyleGAN2 on FFHQ, as two OpenVINO files. Neither it nor `openvino` is a dependency of this project; in an environment
of its own:

    python -m venv faces-env
    faces-env/bin/pip install openvino numpy pillow
    faces-env/bin/pip download --no-deps random-face==2021.7.21.1
    unzip random_face-*.whl 'random_face/data/*'
    faces-env/bin/python tests/tools/make_sample_faces.py random_face/data dpsdata/samples/faces
    faces-env/bin/python tests/tools/make_sample_faces.py random_face/data candidates --first 1 --count 320

A face takes about half a second on one thread. The files are the same on every run with one version of OpenVINO and
one kind of CPU; elsewhere single grey levels may differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import openvino
from PIL import Image

# Chosen by eye from seeds 1 to 252 for both sexes, ages, skins, hair, glasses, beards, a child and turned heads.
SEEDS = (46, 139, 171, 92, 77, 148, 75, 180, 133, 166, 161, 105, 20, 44, 61, 132, 39, 176, 224, 121, 19, 81, 42, 82)
STYLE_SIZE = 512
MEAN_SEED, MEAN_DRAWS = 2**32, 600
# Styles lie at this share of their distance from the mean style: fewer artefacts, less variety.
TRUNCATION = 0.7
FACE_PX = 512
JPEG_QUALITY = 90


class FaceGenerator:
    """Faces of people who do not exist, one for each seed."""

    def __init__(self, folder: Path) -> None:
        core = openvino.Core()
        options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        self.mapping, self.synthesis = (
            core.compile_model(core.read_model(folder / f"{name}Network.xml"), "CPU", options)
            for name in ("Mapping", "Synthesis")
        )
        draws = np.random.default_rng(MEAN_SEED)
        self.mean_style = np.mean([self.draw_style(draws) for _ in range(MEAN_DRAWS)], axis=0)

    def draw_style(self, draws: np.random.Generator) -> np.ndarray:
        """A style of (1, 512) float32."""
        return self.mapping({0: draws.standard_normal((1, STYLE_SIZE), dtype=np.float32)})[0].copy()

    def make_face(self, seed: int) -> Image.Image:
        """A face of 512 px, halved from 1024 px by the mean of four pixels.

        FFHQ is cut by the rule of CelebA-HQ (a square of four times the distance of the eyes, or 3.6 times that from
        eyes to mouth), so the frame stays as it is.
        """
        style = self.mean_style + TRUNCATION * (self.draw_style(np.random.default_rng(seed)) - self.mean_style)
        rgb = self.synthesis({0: style.astype(np.float32)})[0][0].transpose(1, 2, 0)
        pixels = np.clip(np.rint((rgb + 1) * 127.5), 0, 255).astype(np.uint8)
        return Image.fromarray(pixels).resize((FACE_PX, FACE_PX), Image.Resampling.BOX)


def main() -> None:
    """Write face_01.jpg to face_24.jpg, or seed_N.jpg for each seed of a range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with MappingNetwork.xml and SynthesisNetwork.xml")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--first", type=int, default=1, help="first seed of the candidates")
    parser.add_argument("--count", type=int, default=0, help="number of candidates; 0: the 24 chosen faces")
    options = parser.parse_args()
    if options.count:
        names = {f"seed_{seed}": seed for seed in range(options.first, options.first + options.count)}
    else:
        names = {f"face_{number:02d}": seed for number, seed in enumerate(SEEDS, 1)}
    generator = FaceGenerator(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, seed in names.items():
        generator.make_face(seed).save(options.out / f"{name}.jpg", quality=JPEG_QUALITY, subsampling=0)
    print(f"{len(names)} faces in {options.out}")


if __name__ == "__main__":
    main()
