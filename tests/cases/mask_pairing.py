"""Photos and one mask a photo, whose hole tells which photo it belongs to; five ways to name the mask files.

python mask_pairing.py OUT FACES_FOLDER
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

out, faces = Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.png"))[:6]
ways = {
    "same": lambda i: f"{i:05d}.png",
    "suffix": lambda i: f"{i:05d}_mask.png",
    "lama": lambda i: f"{i:05d}_mask001.png",
    "zeros_dropped": lambda i: f"{i}.png",
    "upper": lambda i: f"{i:05d}.PNG",
    "folder_prefix": lambda i: f"{i:05d}.png",
}
for way, name in ways.items():
    photos, masks = out / way / "photos", out / way / "masks"
    for i, face in enumerate(faces, 1):
        folder = photos / "CelebA-HQ-img" if way == "folder_prefix" else photos
        folder.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        shutil.copy(face, folder / f"{i:05d}.png")
        m = np.zeros((256, 256), np.uint8)
        m[40 * (i - 1) : 40 * i, 100:140] = 255  # photo i: band i
        Image.fromarray(m).save(masks / name(i))
    if way == "folder_prefix":
        (photos / "other").mkdir(exist_ok=True)
        shutil.copy(faces[0], photos / "other" / "x.png")
