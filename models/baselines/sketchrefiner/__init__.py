"""SketchRefiner (Liu et al., TMM 2024): a rough sketch is pulled into place, cleaned, and then guides a painter."""
