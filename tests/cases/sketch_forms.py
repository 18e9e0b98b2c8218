"""Writes one drawing in many forms of sketch files.  python sketch_forms.py OUT FACE.png"""

import sys
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageDraw

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)


def draw(width, size=256, scale=1):
    im = Image.new("L", (size * scale, size * scale))
    d = ImageDraw.Draw(im)
    for box in ((60, 40, 196, 226), (85, 105, 115, 120), (141, 105, 171, 120)):
        d.ellipse([v * scale for v in box], outline=255, width=width * scale)
    d.line([v * scale for v in (128, 120, 122, 155, 134, 158)], fill=255, width=width * scale)
    d.arc([v * scale for v in (100, 165, 156, 195)], 10, 170, fill=255, width=width * scale)
    return im


ink = np.array(draw(2)) > 127
np.save(out / "ink.npy", ink)
cover = np.array(draw(2, scale=4).resize((256, 256), Image.Resampling.BOX)).astype(float) / 255  # anti-aliased coverage
rng = np.random.default_rng(0)


def save(n, a, **k):
    return Image.fromarray(np.clip(a, 0, 255).astype(np.uint8)).save(out / n, **k)


def mix(bg, fg):
    return np.asarray(bg, float) * (1 - cover[..., None]) + np.asarray(fg, float) * cover[..., None]


save("black_on_white.png", mix([255] * 3, [0] * 3))
save("white_on_black.png", mix([0] * 3, [255] * 3))
save(
    "thin_aa.png",
    255 - 255 * (np.array(draw(1, scale=4).resize((256, 256), Image.Resampling.BOX)).astype(float) / 255 * 0.5),
)
for n, c in {
    "blue": (0, 0, 255),
    "red": (255, 0, 0),
    "green": (0, 200, 0),
    "cyan": (0, 255, 255),
    "yellow": (255, 230, 0),
    "lightblue": (120, 190, 255),
    "pink": (255, 160, 180),
    "orange": (255, 165, 0),
    "pencil_190": (190,) * 3,
    "pencil_200": (200,) * 3,
    "pencil_215": (215,) * 3,
}.items():
    save(f"{n}_on_white.png", mix([255] * 3, c))
    save(f"{n}_on_transparent.png", np.dstack([np.broadcast_to(np.uint8(c), (256, 256, 3)), cover * 255]))
save("pencil_alpha40.png", np.dstack([np.zeros((256, 256, 3)), cover * 102]))
save(
    "black_white_mixed_transparent.png",
    np.dstack([np.where(np.arange(256)[None, :, None] < 128, 0, 255) * np.ones((256, 256, 3)), cover * 255]),
)
save(
    "two_colours_transparent.png",
    np.dstack(
        [
            np.where(np.arange(256)[None, :, None] < 128, np.uint8([0, 0, 0]), np.uint8([255, 230, 0]))
            * np.ones((256, 256, 3), np.uint8),
            cover * 255,
        ]
    ),
)
save("rgba_opaque_white_bg.png", np.dstack([mix([255] * 3, [0] * 3), np.full((256, 256), 255)]))
y, x = np.mgrid[:256, :256] / 255.0
paper = np.dstack([215 - 0 * x, 210 - 0 * x, 200 - 0 * x]) + rng.normal(0, 4, (256, 256, 1))
save("paper_even_grey.jpg", paper * (1 - cover[..., None]) + np.array([70, 70, 75]) * cover[..., None], quality=85)
shade = 240 - 130 * x[..., None] + np.zeros(3) + rng.normal(0, 4, (256, 256, 1))
save("paper_side_light.jpg", shade * (1 - 0.75 * cover[..., None]), quality=85)
vig = 230 - 150 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)[..., None] * 1.6 + np.zeros(3) + rng.normal(0, 4, (256, 256, 1))
save("paper_vignette.jpg", vig * (1 - 0.75 * cover[..., None]), quality=85)
half = np.where(x + 0.3 * y > 0.75, 120.0, 225.0)[..., None] + np.zeros(3) + rng.normal(0, 4, (256, 256, 1))
save("paper_hand_shadow.jpg", half * (1 - 0.75 * cover[..., None]), quality=85)
lined = np.full((256, 256, 3), 250.0)
lined[::16] = (150, 180, 230)
lined = lined + rng.normal(0, 3, lined.shape)
save("lined_paper.jpg", lined * (1 - 0.8 * cover[..., None]), quality=90)
dark = np.full((256, 256, 3), 110.0) + rng.normal(0, 4, (256, 256, 1))
save("underexposed_paper.jpg", dark * (1 - 0.6 * cover[..., None]), quality=90)
save(
    "blackboard.jpg",
    np.full((256, 256, 3), (35, 60, 45.0)) * (1 - 0.85 * cover[..., None])
    + np.array([225, 225, 220]) * 0.85 * cover[..., None],
    quality=90,
)
face = np.array(Image.open(sys.argv[2]).convert("RGB")).astype(float)
save("drawn_on_photo.png", face * (1 - cover[..., None]))
save("photo_itself.png", face)
thick = np.array(draw(9)) > 127
save("thick_lines.png", np.where(thick, 0, 255))
filled = Image.new("L", (256, 256), 255)
d = ImageDraw.Draw(filled)
d.ellipse((10, 5, 246, 250), fill=0)
d.ellipse((70, 70, 186, 220), fill=255)
filled.save(out / "filled_hair.png")
big = Image.new("L", (256, 256), 255)
d = ImageDraw.Draw(big)
d.rectangle((0, 0, 255, 170), fill=0)
d.line((20, 200, 230, 240), fill=0, width=3)
big.save(out / "more_ink_than_paper.png")
tifffile.imwrite(out / "miniswhite16.tif", np.where(ink, 65535, 0).astype(np.uint16), photometric="miniswhite")
tifffile.imwrite(out / "miniswhite8.tif", np.where(ink, 255, 0).astype(np.uint8), photometric="miniswhite")
Image.fromarray(~ink).save(out / "one_bit.png")
Image.fromarray(~ink).save(out / "g4.tif", compression="group4")
save("values_0_1.png", (~ink).astype(np.uint8))
