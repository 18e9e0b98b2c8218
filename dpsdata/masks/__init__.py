"""Free-form masks, one file per family; the same seed, sample id and family give the same bytes."""

from __future__ import annotations

from dpsdata.masks.registry import MASK_FAMILIES, check_family, make_mask, mask_folder, mask_source_key

__all__ = ["MASK_FAMILIES", "check_family", "make_mask", "mask_folder", "mask_source_key"]
