"""Limits of the clip length, separate from `mpar.cache.clips` so that they load no library."""

from mpar.errors import ConfigError

MIN_CLIP_LENGTH, MAX_CLIP_LENGTH = 8, 32


def check_clip_length(clip_length: int) -> None:
    """Raise ConfigError unless `clip_length` is even and 8 to 32."""
    if clip_length % 2 or not MIN_CLIP_LENGTH <= clip_length <= MAX_CLIP_LENGTH:
        raise ConfigError(
            f"clip_length: found {clip_length}, expected an even number from "
            f"{MIN_CLIP_LENGTH} to {MAX_CLIP_LENGTH}"
        )
