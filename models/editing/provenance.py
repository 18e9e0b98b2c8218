"""The mark in every edited picture: how it was made, by what, and the hash of the request; written and read as XMP.

Text alone is read and written, no XML parser, since packets come with the photos of strangers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dpsdata
from dpsdata.contracts import RUN_FILE, BrokenImageError, MissingError, UsageError, parse_level_folder
from models.editing.request import StoredRun, read_stored_run

COMPOSITE, GENERATED = "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_OWN_SPACE = "urn:deep-plastic-surgery:1.0/"
_TOOL = "Deep Plastic Surgery"
_OWN_NAMES = rb"(?:DigitalSourceType|CreatorTool|RequestSHA256)"
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'


class Mark(NamedTuple):
    """What a marked picture says of itself.

    Attributes:
        source_type: term of the IPTC's digital source types.
        tool: name and version.
        request_sha256: hash of inputs, options and weights; see `hash_request`.
    """

    source_type: str
    tool: str
    request_sha256: str


def hash_request(config: Mapping[str, Any], inputs: Mapping[str, str], weights: Mapping[str, str]) -> str:
    """SHA-256 of the request part of a `run.json`, as JSON with sorted keys and no spaces.

    Args:
        config: the options.
        inputs: SHA-256 by role.
        weights: SHA-256 by network.
    """
    request = {"config": dict(config), "inputs": dict(inputs), "weights": dict(weights)}
    return hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_mark(xmp: bytes | None, request_sha256: str, source_type: str = COMPOSITE) -> bytes:
    """An XMP packet with the mark, beside what the photo's own packet says; an older mark goes.

    Args:
        xmp: the photo's packet, None for none; one that is no UTF-8 RDF is left out.
        request_sha256: see `hash_request`.
        source_type: `COMPOSITE`, or `GENERATED` for a picture without a photo.

    Source: XMP specification part 1 (ISO 16684-1); IPTC photo metadata standard, digital source type.
    """
    described = (
        '<rdf:Description xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f' xmlns:dps="{_OWN_SPACE}" Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPES}{source_type}"'
        f' xmp:CreatorTool="{_TOOL} {dpsdata.__version__}" dps:RequestSHA256="{request_sha256}"/>'
    ).encode()
    own = re.sub(rb"<rdf:Description[^>]*" + re.escape(_OWN_SPACE.encode()) + rb"[^>]*/>", b"", xmp or b"")
    own = re.sub(rb"<([\w.-]+:" + _OWN_NAMES + rb")\b[^>]*?(?:/>|>.*?</\1\s*>)", b"", own, flags=re.DOTALL)
    own = re.sub(rb"\s[\w.-]+:" + _OWN_NAMES + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", own)
    end = re.search(rb"</[\w.-]+:RDF\s*>", own)
    if end is not None and b"<!DOCTYPE" not in own:
        return own[: end.start()] + described + own[end.start() :]
    rdf = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' + described + b"</rdf:RDF>"
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + rdf + b"</x:xmpmeta>"
    return _BEGIN.encode() + packet + b'<?xpacket end="w"?>'


def read_mark(xmp: bytes | None) -> Mark | None:
    """The mark of an XMP packet that `write_mark` wrote; None where there is none."""
    values = []
    for name in ("DigitalSourceType", "CreatorTool", "RequestSHA256"):
        found = re.search(rf'\s[\w.-]+:{name}\s*=\s*"([^"<]{{1,200}})"'.encode(), xmp or b"")
        if found is None:
            return None
        values.append(found.group(1).decode("utf-8", "replace"))
    return Mark(values[0].removeprefix(_SOURCE_TYPES), values[1], values[2])


def hash_stored(run: StoredRun) -> str:
    """`hash_request` of a run that was read."""
    inputs = {role: item.sha256 for role, item in run.inputs.items()}
    return hash_request(run.config, inputs, run.weights_sha256)


def inspect_file(path: Path) -> tuple[Mark | None, list[str]]:
    """What a picture says of itself, and what the folder of its run adds where it is there.

    Returns:
        The mark, None for none; and sentences for the person.

    Raises:
        UsageError: the file is no picture.
        MissingError: the `run.json` beside it is damaged, of another request, or its inputs are.
    """
    from dpsdata.images.photo_file import read_photo_file

    try:
        picture = read_photo_file(path)
    except BrokenImageError as error:
        raise UsageError(f"{path}: {error}; pass a PNG or JPEG that was edited") from None
    mark = read_mark(picture.metadata.xmp)
    if mark is None:
        return None, []
    lines = [f"made as: {mark.source_type}", f"tool:    {mark.tool}", f"request: {mark.request_sha256}"]
    run_file = next((place / RUN_FILE for place in path.resolve().parents[:2] if (place / RUN_FILE).is_file()), None)
    if run_file is None:
        return mark, lines
    run = read_stored_run(run_file)
    if hash_stored(run) != mark.request_sha256:
        raise MissingError(f"{run_file}: of another request than {path.name}; look at the picture in its own folder")
    return mark, lines + _describe(path, run)


def _describe(path: Path, run: StoredRun) -> list[str]:
    import numpy as np

    from dpsdata.masks.reading import read_mask_file

    lines = []
    try:
        lines.append(f"level:   {parse_level_folder(path.stem):g}")
    except UsageError:
        lines.append("levels:  " + ", ".join(f"{level:g}" for level in run.request.levels))
    if "mask" in run.inputs:
        hole = read_mask_file(run.inputs["mask"].data, run.request.invert_mask).pixels > 127
        rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
        place = f"x {columns[0]} to {columns[-1]}, y {rows[0]} to {rows[-1]}" if rows.size else "nowhere"
        lines.append(f"hole:    {int(hole.sum()):,} px of {hole.size:,}, {place}")
    lines += [f"weights: {run.request.weights}"]
    lines += [f"         {name} {sha256}" for name, sha256 in sorted(run.weights_sha256.items())]
    return lines
