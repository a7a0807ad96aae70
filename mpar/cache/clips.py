"""Clips: stretches of frames around the frame to classify.

A clip of length L for frame t covers frames t - L//2 to t - L//2 + L - 1, both in training and in
prediction. Beyond the edge of a recording, the edge frame repeats. With L = 8 and 10 frames::

    frame 0: 0 0 0 0 0 1 2 3        frame 9: 5 6 7 8 9 9 9 9

Frames here are those that the network sees: one per step of the cache's rate
(`mpar.cache.layout`), usually every frame of the video.

A window is the union of the clips of k consecutive frames: L + k - 1 frames, k labels. k = 1
is a clip.

Shapes: B batch, K window labels, L clip length, F = L + K - 1 frames, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from mpar.cache.clip_lengths import check_clip_length
from mpar.cache.joined import Caches
from mpar.cache.layout import PAGE_BYTES
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.labels.classes import UNLABELLED


def clip_frames(frame: int, *, clip_length: int, num_frames: int) -> np.ndarray:
    """Return the frame indices of the clip for `frame`, (L,) int64.

    Examples
    --------
    >>> clip_frames(1, clip_length=8, num_frames=10).tolist()
    [0, 0, 0, 0, 1, 2, 3, 4]
    """
    start = frame - clip_length // 2
    return np.clip(np.arange(start, start + clip_length), 0, num_frames - 1)


def copy_window(store: Store, recording: int, start: int, out: np.ndarray) -> None:
    """Copy frames `start` to `start` + F - 1 into `out`, (F, H, W) uint8.

    Frames before the first and after the last of the recording repeat the edge frame.
    """
    num_frames = store.recordings[recording].num_steps
    stop = start + len(out)
    inner_start = min(max(start, 0), num_frames - 1)
    inner_stop = max(min(stop, num_frames), inner_start + 1)
    before = min(max(inner_start - start, 0), len(out) - 1)
    after = before + inner_stop - inner_start
    store.copy_steps(recording, inner_start, inner_stop, out[before:after])
    out[:before] = out[before]
    out[after:] = out[after - 1]


def labelled_frames(store: Store, recordings: Sequence[int]) -> np.ndarray:
    """Return every labelled frame of some recordings, (N, 2) int64 rows of (recording, frame)."""
    parts = []
    for recording in recordings:
        frames = np.flatnonzero(store.step_labels(recording) != UNLABELLED)
        parts.append(np.stack([np.full_like(frames, recording), frames], axis=1))
    return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)


def tile_windows(
    store: Store, recordings: Sequence[int], *, window: int, offset: int = 0
) -> np.ndarray:
    """Return windows that cover every labelled frame of some recordings exactly once.

    Parameters
    ----------
    window : int
        Labels per window, k.
    offset : int
        0 to k - 1. The first window of a recording starts this many frames before it, so the
        offset determines where windows cut the recording.

    Returns
    -------
    (N, 2) int64 array
        Rows of (recording, first labelled position), without windows that have no label.

    Raises
    ------
    ValueError
        `window` is less than 1, or `offset` is not 0 to `window` - 1.
    """
    if not 0 <= offset < window:
        raise ValueError(
            f"found window {window} and offset {offset}, expected a window of 1 or more and an "
            "offset from 0 to below it"
        )
    parts = []
    for recording in recordings:
        is_labelled = store.step_labels(recording) != UNLABELLED
        starts = np.arange(-offset, len(is_labelled), window)
        counts = np.concatenate([[0], np.cumsum(is_labelled)])
        first = np.clip(starts, 0, len(is_labelled))
        last = np.clip(starts + window, 0, len(is_labelled))
        starts = starts[counts[last] > counts[first]]
        parts.append(np.stack([np.full_like(starts, recording), starts], axis=1))
    return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)


def balanced_windows(
    store: Store,
    recordings: Sequence[int],
    *,
    window: int,
    rng: np.random.Generator,
    num_windows: int | None = None,
) -> np.ndarray:
    """Draw windows of some recordings, with all classes equally likely.

    Parameters
    ----------
    window : int
        Labels per window, k.
    num_windows : int, optional
        N; by default as many as would cover the recordings.
    rng : numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    (N, 2) int64 array
        Rows of (recording, first labelled position). For each window, a random class and a random
        frame of it are drawn, with replacement; the window contains this frame at a random place.
    """
    # counted, since a list of all frames may not fit in memory
    counts_RK = np.stack([count_classes(store, recording) for recording in recordings])
    num_windows = num_windows or -(-int(counts_RK.sum()) // window)
    totals_K = counts_RK.sum(axis=0)
    present = np.flatnonzero(totals_K)
    classes = present[rng.integers(len(present), size=num_windows)]
    ranks = np.array([rng.integers(totals_K[c]) for c in classes])  # among all frames of the class
    stops_RK = counts_RK.cumsum(axis=0)
    owners = np.array(
        [
            np.searchsorted(stops_RK[:, c], rank, "right")
            for c, rank in zip(classes, ranks, strict=True)
        ]
    )
    ranks -= (stops_RK - counts_RK)[owners, classes]
    samples = np.empty((num_windows, 2), np.int64)
    for owner in np.unique(owners).tolist():
        labels, rows = store.step_labels(recordings[owner]), np.flatnonzero(owners == owner)
        for label in np.unique(classes[rows]).tolist():
            own = rows[classes[rows] == label]
            samples[own] = recordings[owner], 0
            samples[own, 1] = np.flatnonzero(labels == label)[ranks[own]]
    samples[:, 1] -= rng.integers(window, size=num_windows)
    return samples


def count_classes(store: Store, recording: int) -> np.ndarray:
    """Count the labelled steps (usually frames) of each class in a recording, (K,) int64."""
    labels = store.step_labels(recording)
    return np.bincount(labels[labels != UNLABELLED], minlength=len(store.class_names))


class ClipSampler:
    """Gather whole batches of windows from a store, in this process, without allocating.

    Parameters
    ----------
    store : Store
        Source of frames and labels.
    clip_length : int
        L, even, 8 to 32.
    window : int
        Labels per window, k.
    pin_memory : bool
        Allocate the batches in page-locked memory, for fast copies to a CUDA device.
    ring : int
        Number of batches that stay valid: each call of `gather` overwrites the batch of `ring`
        calls ago. More than 1 is slower, because fewer batches fit in the processor's caches.

    Notes
    -----
    Batches are copied slice by slice from the memory map. Worker processes would only add the cost
    of transferring them.
    """

    def __init__(
        self,
        store: Store,
        *,
        clip_length: int,
        window: int = 1,
        pin_memory: bool = False,
        ring: int = 1,
    ) -> None:
        check_clip_length(clip_length)
        for name, value in (("window", window), ("ring", ring)):
            if value < 1:
                raise ConfigError(f"{name}: found {value}, expected 1 or more")
        self.store = store
        self.clip_length = clip_length
        self.window = window
        # the labels of all recordings in a row, with margins for windows beyond their edges
        margin = np.full(window, UNLABELLED, np.int8)
        parts = [np.concatenate([margin, store.step_labels(i), margin]) for i in range(len(store))]
        self._labels = np.concatenate(parts)
        self._num_frames = np.array([info.num_steps for info in store.recordings])
        self._first_label = np.cumsum([0, *map(len, parts)])[:-1] + window
        self._pin_memory = pin_memory
        self._shape = (clip_length + window - 1, *store.frame_size)
        self._ring = [torch.empty((0, *self._shape), dtype=torch.uint8)] * ring
        self._turn = 0

    @property
    def num_buffers(self) -> int:
        """Number of batches that stay valid."""
        return len(self._ring)

    def gather(self, samples: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy a batch of windows.

        Parameters
        ----------
        samples : (B, 2) integer array
            Rows of (recording, first labelled position).

        Returns
        -------
        windows : (B, 1, F, H, W) uint8 tensor
            Valid for `ring` further calls.
        labels : (B, K) int64 tensor
            Class index, -1 where the frame is unlabelled or beyond the recording.
        """
        windows = self._next_buffer(len(samples))
        out = windows.numpy()
        recordings, firsts = samples.T
        num_frames = self._num_frames[recordings]
        starts = firsts - self.clip_length // 2
        is_inner = (starts >= 0) & (starts + out.shape[1] <= num_frames)
        rows = np.arange(len(samples))
        if not is_inner.all():
            for row in rows[~is_inner].tolist():
                copy_window(self.store, int(recordings[row]), int(starts[row]), out[row])
            recordings, starts, rows = recordings[is_inner], starts[is_inner], rows[is_inner]
        self.store.copy_batch(recordings, starts, out, rows)
        recordings = samples[:, 0]
        places = self._first_label[recordings] + np.maximum(
            np.minimum(firsts, num_frames), -self.window
        )
        labels = self._labels[places[:, None] + np.arange(self.window)]
        return windows.unsqueeze(1), torch.from_numpy(labels.astype(np.int64))

    def _next_buffer(self, batch_size: int) -> torch.Tensor:
        self._turn = (self._turn + 1) % len(self._ring)
        buffer = self._ring[self._turn]
        if len(buffer) < batch_size:
            buffer = _allocate((batch_size, *self._shape), pin_memory=self._pin_memory)
            self._ring[self._turn] = buffer
        return buffer[:batch_size]


def _allocate(shape: tuple[int, ...], *, pin_memory: bool) -> torch.Tensor:
    """Return an uninitialized uint8 tensor to which frames are copied fast.

    numpy asks the system for huge pages from 4 MB on, torch does not. Frames in a cache start with
    a page, and copies to a place 16 bytes after a page took twice as long as to half a page after.
    """
    if pin_memory:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    num_bytes = math.prod(shape)
    spare = np.empty(num_bytes + 2 * PAGE_BYTES, np.uint8)
    start = -spare.ctypes.data % PAGE_BYTES + PAGE_BYTES // 2
    return torch.from_numpy(spare[start : start + num_bytes]).view(shape)


class MouseActionDataset(Dataset):
    """Clips and labels for your own training loop.

    Parameters
    ----------
    cache : Path, str, sequence of them, or Store
        Caches made by mpar-preprocess. Clips show what mpar's network sees (`Store.seen`).
    clip_length : int
        L, even, 8 to 32.
    recordings : sequence of int, optional
        Positions in the cache; by default all.
    stride : int
        Take every `stride`-th labelled frame.
    transform : callable, optional
        Applied to each clip, a (1, L, H, W) float32 tensor in 0-1.

    Examples
    --------
    ``DataLoader(MouseActionDataset("cache.h5"), batch_size=32, shuffle=True)`` yields clips
    (B, 1, L, H, W) float32 in 0-1 and labels (B,) int64. Items are new arrays. Worker
    processes open the cache by its path; they rarely help, because nothing is decoded.
    """

    def __init__(
        self,
        cache: Caches | Store,
        *,
        clip_length: int = 16,
        recordings: Sequence[int] | None = None,
        stride: int = 1,
        transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        check_clip_length(clip_length)
        if stride < 1:
            raise ConfigError(f"stride: found {stride}, expected 1 or more")
        self.store = cache.seen if isinstance(cache, Store) else Store(cache, film="seen")
        self.clip_length = clip_length
        self.transform = transform
        chosen = range(len(self.store)) if recordings is None else recordings
        self.samples = labelled_frames(self.store, chosen)[::stride]
        self._labels = {i: self.store.step_labels(i) for i in chosen}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return the clip and the label of one labelled frame."""
        recording, frame = self.samples[index].tolist()
        clip = np.empty((self.clip_length, *self.store.frame_size), np.uint8)
        copy_window(self.store, recording, frame - self.clip_length // 2, clip)
        tensor = torch.from_numpy(clip).float().div_(255).unsqueeze(0)
        if self.transform is not None:
            tensor = self.transform(tensor)
        return tensor, int(self._labels[recording][frame])
