# A console (or a pipe on Windows) that cannot show every letter; dpsdata and dps are on PATH.
# bash console_encoding.sh FACE.png MASK.png SKETCH.png OUT
set -u; mkdir -p "$4/src"; cp "$1" "$4/src/smile 😀.png"
PYTHONIOENCODING=cp1252 dpsdata build "$4/src" "$4/built 😀" --size 64 --masks center --workers 1; echo "build rc=$?"
PYTHONIOENCODING=cp1252 dps edit "$1" --mask "$2" --sketch "$3" --levels 0 --align none -o "$4/edit 😀"; echo "edit rc=$?"
