"""Source folders as people have them.  python source_folders.py OUT FACES_FOLDER"""

import io
import sys
import zipfile
from pathlib import Path

from PIL import Image

out, faces = Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.png"))


def photo(i):
    return Image.open(faces[i % len(faces)]).convert("RGB")


d = out / "suffixes"
d.mkdir(parents=True, exist_ok=True)
for i, s in enumerate(
    [
        ".jpg",
        ".jpeg",
        ".JPG",
        ".png",
        ".jfif",
        ".jpe",
        ".JFIF",
        ".pjpeg",
        ".avif",
        ".jp2",
        ".pgm",
        ".pbm",
        ".ppm",
        "",
        ".jpg.1",
        ".jpg~",
        ".jpg_large",
        ".tga",
        ".heic",
    ]
):
    fmt = {
        ".png": "PNG",
        ".avif": "AVIF",
        ".jp2": "JPEG2000",
        ".pgm": "PPM",
        ".pbm": "PPM",
        ".ppm": "PPM",
        ".tga": "TGA",
    }.get(s, "JPEG")
    im = photo(i)
    if s == ".pgm":
        im = im.convert("L")
    if s == ".pbm":
        im = im.convert("1")
    im.save(d / f"p{i:02d}{s}", fmt)
# a StarGAN tree, and the same with one stray file
for way in ("stargan", "stargan_stray"):
    for split in ("train", "val"):
        for sex in ("female", "male"):
            f = out / way / split / sex
            f.mkdir(parents=True, exist_ok=True)
            for i in range(4 if split == "train" else 2):
                photo(i).save(f / f"{split}{sex}{i}.jpg")
photo(0).save(out / "stargan_stray" / "teaser.png")
for way in ("splits", "splits_stray"):
    for split, n in (("train", 6), ("val", 2), ("test", 2)):
        f = out / way / split
        f.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            photo(i).save(f / f"{split}{i}.jpg")
photo(0).save(out / "splits_stray" / "figure.png")
# photo, mask and sketch side by side in one folder, as LaMa and IOPaint take them; and in three folders
m = Image.new("L", (256, 256))
m.paste(255, (80, 80, 160, 160))
d = out / "sidecars"
d.mkdir(exist_ok=True)
for i in range(4):
    photo(i).save(d / f"{i}.png")
    m.save(d / f"{i}_mask.png")
    m.save(d / f"{i}_mask001.png")
for n in ("images", "masks", "sketches"):
    (out / "three" / n).mkdir(parents=True, exist_ok=True)
    for i in range(4):
        (photo(i) if n == "images" else m).save(out / "three" / n / f"{i}.png")
# CelebAMask-HQ with the merged label maps beside, as MaskGAN and SPADE users have it
for n in ("CelebA-HQ-img", "CelebAMask-HQ-mask", "CelebAMask-HQ-mask-color"):
    (out / "celebamask" / n).mkdir(parents=True, exist_ok=True)
    for i in range(4):
        (photo(i) if n == "CelebA-HQ-img" else m).save(
            out / "celebamask" / n / (f"{i}.jpg" if n == "CelebA-HQ-img" else f"{i}.png")
        )
# pix2pix pairs (edges | photo) and tiny placeholders and banners
d = out / "ab"
d.mkdir(exist_ok=True)
for i in range(3):
    ab = Image.new("RGB", (512, 256), "white")
    ab.paste(photo(i), (256, 0))
    ab.save(d / f"{i}.jpg")
d = out / "tiny"
d.mkdir(exist_ok=True)
photo(0).save(d / "good.png")
Image.new("RGB", (1, 1), "grey").save(d / "pixel.png")
photo(1).resize((16, 16)).save(d / "icon.png")
photo(1).resize((43, 43)).save(d / "thumb.jpg")
Image.new("RGB", (728, 90), "red").save(d / "banner.gif")
Image.new("RGB", (900, 3), "red").save(d / "line.png")
# loose preview beside zips
d = out / "zips_and_one_image"
d.mkdir(exist_ok=True)
for part in range(2):
    with zipfile.ZipFile(d / f"part{part}.zip", "w") as z:
        for i in range(3):
            b = io.BytesIO()
            photo(i).save(b, "JPEG")
            z.writestr(f"{part}{i}.jpg", b.getvalue())
photo(7).save(d / "preview.jpg")
with zipfile.ZipFile(out / "zip_in_zip.zip", "w") as z:
    for part in range(2):
        z.write(d / f"part{part}.zip", f"celeba/part{part}.zip")
