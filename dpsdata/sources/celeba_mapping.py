"""The user's `CelebA-HQ-to-CelebA-mapping.txt`: which CelebA file each CelebA-HQ image was made from."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from dpsdata.contracts import BrokenImageError, MissingError
from dpsdata.sources.read import open_zip, read_place
from dpsdata.sources.scan import MAPPING_NAME

_MAX_NUMBER = 202_599
_MAX_BYTES = 16 * 2**20


def _find(root: Path) -> tuple[Path, int | None]:
    """The mapping in the source, beside it, or one folder below."""
    if root.is_file():
        for number, info in enumerate(open_zip(root).infolist()):
            if PurePosixPath(info.filename).name == MAPPING_NAME and "__MACOSX" not in info.filename:
                return root, number
        candidates = [root.parent / MAPPING_NAME]
    else:
        below = sorted(folder for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
        candidates = [folder / MAPPING_NAME for folder in (root, root.resolve().parent, *below)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate, None
    raise MissingError(
        f"{root}: no {MAPPING_NAME} in it; it comes with CelebAMask-HQ; name it with celeba-partition:PATH"
    )


def read_mapping(path: Path | None, root: Path) -> dict[int, int]:
    """Read the mapping.

    The number in `orig_file` is used, which counts from 1 as CelebA's partition list does; `orig_idx`
    counts from 0, and would be wrong by one at the borders.

    Args:
        path: the file, or None to look for it in the source.
        root: the source, a folder or zip.

    Returns:
        CelebA-HQ index -> number of the CelebA file, 1 to 202599.

    Raises:
        MissingError: not there, or not in the form `idx orig_idx orig_file`.
    """
    file, member = (path, None) if path is not None else _find(root)
    try:
        text = read_place(file, member)[:_MAX_BYTES].decode("utf-8-sig")
    except (BrokenImageError, UnicodeDecodeError) as error:
        raise MissingError(f"{file}: cannot read the mapping: {error}") from None
    mapping: dict[int, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or (number == 1 and fields[0] == "idx"):
            continue
        stem = PurePosixPath(fields[-1]).stem
        numbers = len(fields) == 3 and fields[0].isascii() and fields[0].isdigit() and stem.isascii() and stem.isdigit()
        if not numbers or len(stem) > 6 or not 1 <= int(stem) <= _MAX_NUMBER or len(fields[0]) > 6:
            raise MissingError(
                f"{file}: line {number} is {line[:60]!r}; expected `idx orig_idx orig_file`, "
                "such as `0 119613 119614.jpg`"
            )
        if mapping.setdefault(int(fields[0]), int(stem)) != int(stem):
            raise MissingError(
                f"{file}: line {number} gives index {fields[0]} a second file; download the mapping again"
            )
    if not mapping:
        raise MissingError(f"{file}: no lines of the form `idx orig_idx orig_file`; download the mapping again")
    return mapping
