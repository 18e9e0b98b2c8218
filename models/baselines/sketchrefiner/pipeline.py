"""SketchRefiner whole: from photo, hole, rough sketch and the photo's edges to a refined sketch and a filled hole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpsdata.contracts import UsageError, check_edges
from models.baselines.edit_inputs import check_edit, check_plane, match_plane, swap_colors
from models.baselines.loading import WeightSource, open_weights
from models.baselines.sketchrefiner.painting import SketchEncoder, TextureModule
from models.baselines.sketchrefiner.refinement import EnhancementModule, RegistrationModule

SIZE_MULTIPLE_PX = 8
LEAST_PX = 24
# What a line of a map is over. As published it is drawn anew between 0.65 and 0.75 for each photo.
LINE_THRESHOLD = 0.7


class SketchRefiner(nn.Module):
    """All four networks; BGR and [0, 1] live inside of it and nowhere else.

    Source: AlonzoLeeeooo/SketchRefiner@bddc77e.
    """

    def __init__(self) -> None:
        super().__init__()
        self.registration = RegistrationModule()
        self.enhancement = EnhancementModule()
        self.encoder = SketchEncoder()
        self.painter = TextureModule()

    def forward(self, photo: Tensor, mask: Tensor, sketch: Tensor, edges: Tensor) -> dict[str, Tensor]:
        """Refine the sketch of each photo and paint its hole.

        Args:
            photo: (N, 3, H, W) float32 RGB in [-1, 1], H and W multiples of 8 and at least 24 (256 as trained); what
                lies in the hole is not read.
            mask: (N, 1, H, W) or (1, 1, H, W) float32 in {0, 1}, hole = 1.
            sketch: (N, 1, H, W) float32 in [0, 1], line = 1; read inside of the hole only.
            edges: (N, 1, H, W) float32 in [0, 1], edge = 1, of the photo; read outside of the hole only.

        Returns:
            `registered` and `enhanced`, the raw maps (N, 1, H, W); `refined_sketch`, (N, 1, H, W) in {0, 1}, with the
            edges around the hole; `raw` and `composite`, (N, 3, H, W) RGB in [-1, 1].

        Raises:
            UsageError: a tensor breaks its contract, has another size, or is not of the network's type and device.
        """
        mask = check_edit(photo, mask, SIZE_MULTIPLE_PX, self, "SketchRefiner")
        if min(photo.shape[2:]) < LEAST_PX:
            raise UsageError(
                f"photo: SketchRefiner takes sides of at least {LEAST_PX} px, got {tuple(photo.shape[2:])}"
            )
        check_edges(edges)
        outside = (match_plane(edges, photo, "edges") > LINE_THRESHOLD).to(photo) * (1 - mask)
        lines = (check_plane(sketch, photo) > LINE_THRESHOLD).to(photo) * mask + outside
        known = swap_colors((photo + 1) / 2) * (1 - mask)
        registered = self.registration(torch.cat([known + mask, mask, lines], dim=1))
        placed = _over_mean(registered) * mask + outside
        enhanced = self.enhancement(placed)
        refined = _over_mean(enhanced.clamp(0, 1) * mask + outside)
        painted = self.painter(torch.cat([known, mask], dim=1), self.encoder(refined.expand(-1, 3, -1, -1)))
        raw = swap_colors(painted) * 2 - 1
        return {
            "registered": registered,
            "enhanced": enhanced,
            "refined_sketch": refined,
            "raw": raw,
            "composite": raw * mask + photo * (1 - mask),
        }


def _over_mean(plane: Tensor) -> Tensor:
    """1 where a map is over its own mean, each photo by itself."""
    return (plane > plane.mean(dim=(1, 2, 3), keepdim=True)).to(plane)


def load_sketchrefiner(source: WeightSource) -> SketchRefiner:
    """Load all four networks.

    Args:
        source: a safetensors or torch file of `SketchRefiner.state_dict()`, or {key: array or tensor} of it, as
            `models.methods.sketchrefiner` puts it together from the imported official files.

    Returns:
        The networks in eval mode on the CPU, in float32.

    Raises:
        UsageError: the source is none of these.
        MissingError: weights are missing, damaged, not finite, or of another network.
    """
    weights = open_weights(source)
    with torch.device("meta"):
        net = SketchRefiner()
    state = net.state_dict()
    found = weights.tensors({key: tuple(value.shape) for key, value in state.items() if value.is_floating_point()})
    # Counters of batches matter to a training alone.
    counters = {key: torch.zeros((), dtype=torch.int64) for key in state if key not in found}
    net.load_state_dict({**found, **counters}, strict=True, assign=True)
    return net.eval()
