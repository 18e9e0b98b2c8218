"""Split lists in the forms that tools write them.  python split_lists.py OUT FACES_FOLDER"""

import shutil
import sys
from pathlib import Path

out, faces = Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.png"))
src = out / "src"
src.mkdir(parents=True, exist_ok=True)
for i in range(6):
    shutil.copy(faces[i], src / f"{i:06d}.png")
rows = [(f"{i:06d}.jpg", "train" if i < 4 else "test") for i in range(6)]


def write(n, t, enc="utf-8"):
    (out / n).write_bytes(t.encode(enc))


write("lf.txt", "".join(f"{a} {b}\n" for a, b in rows))
write("crlf.txt", "".join(f"{a} {b}\r\n" for a, b in rows))
write("cr_only.txt", "".join(f"{a} {b}\r" for a, b in rows))
write("bom.csv", "\ufeffimage,split\r\n" + "".join(f"{a},{b}\r\n" for a, b in rows))
write("utf16.txt", "".join(f"{a} {b}\r\n" for a, b in rows), "utf-16")
write("latin1.txt", "# Liste für Köln\n" + "".join(f"{a} {b}\n" for a, b in rows), "latin-1")
write("quoted.csv", '"image","split"\n' + "".join(f'"{a}","{b}"\n' for a, b in rows))
write("semicolon.csv", "image;split\n" + "".join(f"{a};{b}\n" for a, b in rows))
write("three_columns.csv", "image,split,age\n" + "".join(f"{a},{b},30\n" for a, b in rows))
write("index_column.csv", ",image,split\n" + "".join(f"{i},{a},{b}\n" for i, (a, b) in enumerate(rows)))
write("reversed.csv", "split,image\n" + "".join(f"{b},{a}\n" for a, b in rows))
write("codes.txt", "".join(f"{a} {0 if b == 'train' else 2}\n" for a, b in rows))
write("codes_1_based.txt", "".join(f"{a} {1 if b == 'train' else 2}\n" for a, b in rows))
write("excel_zeros_lost.csv", "image,split\n" + "".join(f"{i},{b}\n" for i, (a, b) in enumerate(rows)))
write("upper.txt", "".join(f"{a.upper()} {b.title()}\n" for a, b in rows))
write("windows_paths.txt", "".join(f"D:\\data\\faces\\{a} {b}\n" for a, b in rows))
write("trailing_comma.csv", "".join(f"{a},{b},\n" for a, b in rows))
write("json.json", '{"train": ["000000.jpg"], "test": ["000004.jpg"]}')
write("test_only.txt", "000004.jpg\r\n000005.jpg\r\n")
write("header_alone.txt", "filename\n000004.jpg\n000005.jpg\n")
# a list of a larger set, of which only another folder is here
two = out / "two" / "train"
two.mkdir(parents=True, exist_ok=True)
for i in range(4):
    shutil.copy(faces[i], two / f"{i}.png")
write("other_folder.txt", "val/0.png\nval/1.png\n")
write("identities.txt", "n000001/0.png test\nn000002/1.png test\nn000003/0.png train\n")
write("identities2.txt", "n000001/0.png test\nn000002/1.png test\n")
