"""A group photo: two faces; the hole and the lines are on the smaller one.  python group_photo.py OUT FACES_FOLDER"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

out, faces = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
big = Image.open(faces / "astronaut.png").convert("RGB").resize((420, 420))
small = Image.open(faces / "astronaut.png").convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((300, 300))
photo = Image.new("RGB", (900, 520), (200, 190, 185))
photo.paste(big, (30, 60))
photo.paste(small, (540, 120))
photo.save(out / "group.png")
m = Image.new("L", photo.size)
ImageDraw.Draw(m).ellipse((630, 300, 750, 370), fill=255)
m.save(out / "mask_small.png")
s = Image.new("L", photo.size, 255)
ImageDraw.Draw(s).arc((645, 310, 735, 350), 10, 170, fill=0, width=3)
s.save(out / "sketch_small.png")
m = Image.new("L", photo.size)
ImageDraw.Draw(m).ellipse((150, 320, 330, 420), fill=255)
m.save(out / "mask_big.png")
# a photo that is not square, taken whole
tall = photo.crop((30, 0, 450, 520)).resize((420, 1000))
tall.save(out / "tall.png")
