"""The photo, mask, sketch and wide mask that the edits of this list use.  python edit_inputs.py OUT FACE.png"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
Image.open(sys.argv[2]).convert("RGB").save(out / "photo.png")
m = Image.new("L", (256, 256))
ImageDraw.Draw(m).rectangle([150, 170, 229, 229], fill=255)
m.save(out / "mask.png")
s = Image.new("L", (256, 256), 255)
ImageDraw.Draw(s).line([150, 180, 230, 225], fill=0, width=2)
s.save(out / "sketch.png")
b = np.zeros((256, 256), np.uint8)
b[20:240, 30:230] = 255
Image.fromarray(b).save(out / "big.png")
h = np.zeros((256, 256), bool)
h[0:70, 30:220] = True  # a hole that touches the border, painted in blue
Image.fromarray(
    np.dstack([np.where(h[..., None], np.uint8([0, 0, 255]), np.uint8([0, 0, 0])), (h * 255).astype(np.uint8)])
).save(out / "blue_top.png")
