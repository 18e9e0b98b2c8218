"""Free-form masks, one file per family; the same seed, sample id and family give the same bytes."""

from __future__ import annotations

from dpsdata.masks.registry import (
    MASK_FAMILIES,
    check_family,
    check_mask_files,
    is_from_files,
    make_mask,
    mask_folders,
    mask_source_key,
    read_or_draw_mask,
)

__all__ = [
    "MASK_FAMILIES",
    "check_family",
    "check_mask_files",
    "is_from_files",
    "make_mask",
    "mask_folders",
    "mask_source_key",
    "read_or_draw_mask",
]
