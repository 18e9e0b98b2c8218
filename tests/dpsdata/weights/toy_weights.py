"""A published weight file of 30 bytes, its importer, and what tests of weights share."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path

import torch

from dpsdata.contracts import MissingError
from dpsdata.weights import Imported, WeightFile

TOY_BYTES = b"TOY! the published toy weights"
TOY_SHA256 = hashlib.sha256(TOY_BYTES).hexdigest()
TOY = WeightFile(
    name="toy",
    filename="toy.bin",
    url="https://toy.invalid/toy.bin",
    page="https://toy.invalid",
    size=len(TOY_BYTES),
    sha256=TOY_SHA256,
    licence="toy licence",
    purpose="testing",
    room="models",
)


def import_toy(path: Path) -> Imported | None:
    data = path.read_bytes()
    if not data.startswith(b"TOY!"):
        return None
    if data == b"TOY! cut":
        raise MissingError(f"{path}: a toy that is cut off; get it again")
    return Imported("toy", {"x": torch.tensor([float(len(data))])}, {"kind": "toy"})


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def make_zip(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return path
