"""Two mask folders with the same last name: A/masks (hole left), B/masks (right).

python mask_folder_twins.py OUT FACES
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

out, faces = Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.png"))[:3]
for i, f in enumerate(faces):
    (out / "photos").mkdir(parents=True, exist_ok=True)
    shutil.copy(f, out / "photos" / f"{i}.png")
    for way, cols in (("A", slice(20, 60)), ("B", slice(180, 240))):
        d = out / way / "masks"
        d.mkdir(parents=True, exist_ok=True)
        m = np.zeros((256, 256), np.uint8)
        m[:, cols] = 255
        Image.fromarray(m).save(d / f"{i}.png")
