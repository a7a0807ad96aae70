"""Architecture of the network; imports neither torch nor numpy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from mpar.cache.clip_lengths import check_clip_length
from mpar.errors import ConfigError

# (channels, temporal kernel, whether spatial pooling follows); the first block also pools time,
# except in fast, whose first block instead takes every second pixel (`mpar.network.model`)
BLOCKS = {
    "standard": ((32, 3, True), (64, 1, True), (128, 3, True), (256, 3, False), (256, 3, True)),
    "light": ((32, 3, True), (64, 3, True), (128, 3, False), (128, 2, True)),
    "fast": ((32, 3, True), (64, 3, True), (128, 3, True), (192, 3, False)),
}
MIN_SIDE_PX = 16  # four poolings by 2 leave one pixel
NO_NETWORK = "none"  # other experts alone
MODEL_TYPES = tuple(BLOCKS)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Everything needed to rebuild a network.

    Parameters
    ----------
    model_type : {"standard", "light", "fast", "none"}
        About 3.0, 0.6 or 0.4 million parameters; or no network.
    num_classes : int
        2 to 127.
    clip_length : int
        L, even, 8 to 32 frames.
    dropout : float
        Before each of the two fully connected layers, 0 to below 1.
    centre_frames : bool
        Subtract the mean of each frame, so that brightness and its drift have no effect. Half of
        the filters of the first layer then start with motion only, the other half with edges.
    """

    model_type: str = "standard"
    num_classes: int = 6
    clip_length: int = 16
    dropout: float = 0.5
    centre_frames: bool = True

    def __post_init__(self) -> None:
        if self.model_type not in (*BLOCKS, NO_NETWORK):
            raise ConfigError(
                f"model_type: found {self.model_type!r}, expected one of {', '.join(BLOCKS)}"
            )
        if not 2 <= self.num_classes <= 127:
            raise ConfigError(f"num_classes: found {self.num_classes}, expected 2-127")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout: found {self.dropout}, expected 0 to below 1")
        check_clip_length(self.clip_length)

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain types."""
        return dataclasses.asdict(self)
