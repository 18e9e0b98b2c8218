"""Photos, and mask folders as people have them: macOS companions, 0/1 values, holes as transparency, colour labels.

python mask_folder_forms.py OUT FACES_FOLDER
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

out, faces = Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.png"))[:4]
for i, face in enumerate(faces, 1):
    (out / "photos").mkdir(parents=True, exist_ok=True)
    shutil.copy(face, out / "photos" / f"{i}.png")
    m = np.zeros((256, 256), np.uint8)
    m[60:180, 60:160] = 255
    face_px = np.array(Image.open(face).convert("RGB"))
    ways = {
        "apple": m,
        "values_0_1": m // 255,
        "cutout": np.dstack([face_px, 255 - m]),
        "blue_layer": np.dstack([np.zeros_like(m), np.zeros_like(m), m, m]),
        "black_layer": np.dstack([np.zeros_like(m)] * 3 + [m]),
        "brush_alpha": np.dstack([np.full_like(m, 255)] * 3 + [m // 255 * 100]),
        "labels": m // 255 * 13,
        "black_holes": 255 - m,
        "directory_named_png": m,
        "mixed_png_jpg": m,
    }
    for way, a in ways.items():
        d = out / way
        d.mkdir(exist_ok=True)
        Image.fromarray(a).save(d / f"{i}.png")
        if way == "apple":
            (d / f"._{i}.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(4000))
        if way == "directory_named_png":
            (d / "extra.png").mkdir(exist_ok=True)
        if way == "mixed_png_jpg":
            Image.fromarray(255 - a).save(d / f"{i}.jpg")  # an older, inverted copy
# a pool of masks without the ids of photos, with companions
(out / "apple_pool").mkdir(exist_ok=True)
for j in range(3):
    Image.fromarray(m).save(out / "apple_pool" / f"m{j}.png")
    (out / "apple_pool" / f"._m{j}.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(4000))
