"""The task `pathfinder`: are two markers joined by one dashed path? (Linsley et al. 2018; Long Range Arena).

The answer is in the connection alone. A path is drawn first, and its two ends are where the markers will be; only then
a coin decides. Joined: the path stays, and a second one of the same length is drawn elsewhere. Not joined: the path is
thrown away, and a new one of the same length is drawn from either marker. So the places of the markers, their distance
and the number of dashes have the same law for both answers.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.base import TaskSpec
from tasks.batch import Split
from tasks.data.cache import build_once, data_directory, write_atomically
from tasks.options import OptionValue
from tasks.sequences.sequences import Numbers, SequenceTask, SplitData, shuffled
from tasks.sequences.spec import MOST_KEPT

Points = npt.NDArray[np.float64]

# Lengths in pixels of a 32 x 32 image; larger images are drawn to scale. Chosen by eye: no source gives them.
_STEP, _DASH, _HALF_WIDTH, _MARKER_RADIUS = 2.3, 1.5, 0.35, 1.3
_CLEARANCE, _MARGIN = 2.4, 2.0
_LARGEST_TURN = 0.55
_CANDIDATES = 40
"""Chains drawn at a time, of which the first that fits is taken."""
_ATTEMPTS, _TRIES = 4, 8
"""Times that a scene's other paths are begun anew, and that each of them is tried, before the whole scene is."""
_ROUNDING = 1e-9
_DISTRACTORS = {3: 2, 6: 6, 9: 5, 14: 3}
"""Distractors, by the dashes of the target paths; a distractor has a third of their length."""
_SPLIT_SEEDS: dict[Split, int] = {"train": 0, "valid": 1, "test": 2}
_SIDE = 32.0


class Scene(NamedTuple):
    """Geometry of an image in units of a 32 x 32 image; [points, 2] each."""

    paths: list[Points]
    """Corner points of the two target paths and the distractors."""
    markers: Points
    """Centres of the two markers."""
    joined: bool
    """The answer: whether one path joins the markers."""


def draw_scene(random: np.random.Generator, dashes: int) -> Scene:
    """Draw a scene with two paths of `dashes` dashes."""
    while True:
        # The first path is placed in an empty scene, before anything depends on the answer.
        path = _place(_chains(random, dashes), [])
        # Markers this close would touch or leave no room between the paths that start at them.
        if path is None or np.linalg.norm(path[-1] - path[0]) < _CLEARANCE + 2 * _MARKER_RADIUS:
            continue
        # Places that leave no room for one of the answers are given up before the coin is tossed.
        answers = [_completed(random, path, dashes, joined=joined) for joined in (False, True)]
        # Both answers must have been possible here, or crowded places would tell the answer.
        if answers[0] is not None and answers[1] is not None:
            joined = bool(random.integers(2))
            return Scene(answers[joined] or [], path[[0, -1]], joined)


def _completed(random: np.random.Generator, path: Points, dashes: int, *, joined: bool) -> list[Points] | None:
    """Add to the path, or to its ends alone, what the answer asks for, and the distractors; None when it fails."""
    for _ in range(_ATTEMPTS):
        paths = [path] if joined else []
        starts = [None] if joined else [path[0], path[-1]]
        planned = [(dashes, start) for start in starts] + [(max(2, dashes // 3), None)] * _DISTRACTORS[dashes]
        for length, start in planned:
            # A generator, so that a further try is drawn only where those before it failed.
            tries = (_place(_chains(random, length, start), paths) for _ in range(_TRIES))
            added = next((chain for chain in tries if chain is not None), None)
            # One path that finds no room spoils the whole attempt: paths placed before it may be in its way.
            if added is None:
                break
            paths.append(added)
        else:
            return paths
    return None


def _chains(random: np.random.Generator, dashes: int, start: Points | None = None) -> Points:
    """Return candidates of bounded turning from a place, a random one when None, [candidates, dashes + 1, 2]."""
    # many candidates in one call of numpy; `_place` takes the first that fits
    turns = random.uniform(-_LARGEST_TURN, _LARGEST_TURN, (_CANDIDATES, dashes))
    # The first turn is the direction in which the path sets out.
    turns[:, 0] = random.uniform(0, 2 * np.pi, _CANDIDATES)
    headings = np.cumsum(turns, axis=1)
    steps = _STEP * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    if start is None:
        start = random.uniform(_MARGIN, _SIDE - _MARGIN, (_CANDIDATES, 1, 2))
    else:
        start = np.broadcast_to(start, (_CANDIDATES, 1, 2))
    return np.concatenate([start, start + np.cumsum(steps, axis=1)], axis=1)


def _place(chains: Points, others: list[Points]) -> Points | None:
    """Return the first candidate that stays inside, keeps clear of itself and of the other paths."""
    inside = ((chains >= _MARGIN - _ROUNDING) & (chains <= _SIDE - _MARGIN + _ROUNDING)).all(axis=(1, 2))
    # The cheap test comes first and leaves few candidates for those of distances.
    chains = chains[inside]
    # pairs of points, by squares: neighbours along the path are near each other and not asked
    near = _square_gaps(chains, chains)[:, *_far_along(chains.shape[1])]
    chains = chains[(near > _CLEARANCE**2).all(axis=1)]
    if not others:
        return chains[0] if len(chains) else None
    # middles too, or two dashes could cross between their ends
    obstacles = np.concatenate([_dense(path[None])[0] for path in others])
    room = np.concatenate([_room(len(path)) for path in others])
    # Squares on both sides, so that no root is taken of thousands of distances.
    limit = (_CLEARANCE + _room(chains.shape[1])[:, None] + room) ** 2
    for candidate, points in zip(chains, _dense(chains), strict=True):
        if (_square_gaps(points[None], obstacles[None])[0] > limit).all():
            return np.asarray(candidate)
    return None


@functools.cache
def _far_along(points: int) -> tuple[Numbers, Numbers]:
    """Return the pairs of points that are more than two dashes apart along a path."""
    return np.triu_indices(points, k=3)


@functools.cache
def _room(points: int) -> Points:
    """Return the extra room of a path's points and the middles of its dashes: that of a marker at the ends, else 0."""
    room = np.zeros(2 * points - 1)
    room[[0, -1]] = _MARKER_RADIUS
    return room


def _square_gaps(ones: Points, others: Points) -> Points:
    """Return the squared distances of the points of paths, [paths, points, points]."""
    x, y = (ones[:, :, None, axis] - others[:, None, :, axis] for axis in (0, 1))
    return np.asarray(x * x + y * y)


def _dense(paths: Points) -> Points:
    """Add the middles of the dashes, [paths, 2 dashes + 1, 2]."""
    points = np.empty((len(paths), 2 * paths.shape[1] - 1, 2))
    points[:, ::2], points[:, 1::2] = paths, (paths[:, 1:] + paths[:, :-1]) / 2
    return points


def render(scene: Scene, side: int) -> npt.NDArray[np.uint8]:
    """Draw a scene with soft edges.

    Args:
        scene: what to draw.
        side: pixels of a side.

    Returns:
        Brightness 0..255, [side, side].
    """
    scale = side / _SIDE
    brightness = np.zeros((side, side))
    starts = np.concatenate([path[:-1] for path in scene.paths])
    ends = np.concatenate([path[1:] for path in scene.paths])
    rest = (1 - _DASH / _STEP) / 2
    heads, tails = (starts + rest * (ends - starts)) * scale, (ends + rest * (starts - ends)) * scale
    half = max(_HALF_WIDTH * scale, 0.5)  # at least a pixel wide, or dashes of small images would fade
    for head, tail in zip(heads, tails, strict=True):
        _draw(brightness, head, tail, half)
    for marker in scene.markers * scale:
        _draw(brightness, marker, marker, _MARKER_RADIUS * scale)
    return np.rint(brightness * 255).astype(np.uint8)


def _draw(brightness: Points, head: Points, tail: Points, radius: float) -> None:
    """Draw a thick line (a disc, when it has no length) into its neighbourhood, one pixel soft at the edge."""
    low = np.maximum(np.floor(np.minimum(head, tail) - radius - 1).astype(int), 0)
    high = np.minimum(np.ceil(np.maximum(head, tail) + radius + 1).astype(int), len(brightness))
    y, x = np.ogrid[low[0] : high[0], low[1] : high[1]]
    direction = tail - head
    square = float(direction @ direction)
    along = ((y + 0.5 - head[0]) * direction[0] + (x + 0.5 - head[1]) * direction[1]) / square if square else 0.0
    along = np.clip(along, 0, 1)
    distance = np.hypot(y + 0.5 - head[0] - along * direction[0], x + 0.5 - head[1] - along * direction[1])
    patch = brightness[low[0] : high[0], low[1] : high[1]]
    np.maximum(patch, np.clip(radius + 0.5 - distance, 0, 1), out=patch)


# kept, because inputs and targets of a batch each ask for the same examples
@functools.lru_cache(maxsize=256)
def example(split: Split, number: int, side: int, dashes: int) -> tuple[npt.NDArray[np.uint8], bool]:
    """Return image and answer of a numbered example; the answer and the geometry do not depend on `side`."""
    # A generator for each example, so that any of them can be drawn without those before it.
    scene = draw_scene(np.random.default_rng([_SPLIT_SEEDS[split], dashes, number]), dashes)
    return render(scene, side), scene.joined


class Drawn:
    """Images that are drawn whenever they are asked for."""

    def __init__(self, split: Split, *, side: int, dashes: int, patch: int) -> None:
        self.draw, self.side, self.patch = functools.partial(example, split, side=side, dashes=dashes), side, patch

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return brightness 0..1, float32 [B, T, patch * patch]; see `as_sequences`."""
        return as_sequences(np.stack([self.draw(int(number))[0] for number in numbers]), self.patch)

    def targets(self, numbers: Numbers) -> Numbers:
        """Return 1 for joined markers, else 0, [B]."""
        return np.array([self.draw(int(number))[1] for number in numbers], dtype=np.int64)


class Kept:
    """Images that are drawn on first use and kept in the cache directory."""

    def __init__(self, drawn: Drawn, count: int, store: Path) -> None:
        self._drawn, self._count, self._store = drawn, count, store

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return brightness 0..1, float32 [B, T, patch * patch]; see `as_sequences`."""
        return as_sequences(self._arrays()[0][numbers], self._drawn.patch)

    def targets(self, numbers: Numbers) -> Numbers:
        """Return 1 for joined markers, else 0, [B]."""
        answers: Numbers = self._arrays()[1][numbers]
        return answers

    @functools.cache  # noqa: B019 - lives as long as the task
    def _arrays(self) -> tuple[npt.NDArray[np.uint8], Numbers]:
        answers = self._store.with_suffix(".answers.npy")
        build_once(answers, lambda: self._write(answers))
        return np.load(self._store.with_suffix(".npy"), mmap_mode="r"), np.load(answers)

    def _write(self, answers: Path) -> None:
        side = self._drawn.side
        # Filled in one by one: a list of images beside the array would take the memory twice.
        pixels, classes = np.empty((self._count, side, side), dtype=np.uint8), np.empty(self._count, dtype=np.int64)
        for number in range(self._count):
            pixels[number], classes[number] = self._drawn.draw(number)
        # The answers are written last, since their file is what says that both are there.
        for path, array in ((self._store.with_suffix(".npy"), pixels), (answers, classes)):
            with write_atomically(path) as file:
                np.save(file, array)


def as_sequences(images: npt.NDArray[np.uint8], patch: int) -> Tensor:
    """Cut images into squares that are read in row order, and within a square its pixels in row order.

    Args:
        images: brightness 0..255, [B, side, side].
        patch: pixels of a square's side; 1 reads pixel by pixel.

    Returns:
        Brightness 0..1, float32 [B, (side / patch)^2, patch^2].
    """
    count, side = len(images), images.shape[1] // patch
    squares = images.reshape(count, side, patch, side, patch).swapaxes(2, 3).reshape(count, side**2, patch**2)
    return torch.from_numpy(squares.astype(np.float32) / 255)


def load_pathfinder(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
) -> SequenceTask:
    """Load the task `pathfinder`: many training images are drawn on the fly, few of them and the others once."""
    side, dashes, patch = (int(options[name]) for name in ("side", "dashes", "patch"))
    # there is no file to hash, so a few images stand for the generator: another version of it makes another data set
    first = b"".join(example("test", number, side, dashes)[0].tobytes() for number in range(4))
    sha256 = hashlib.sha256(first).hexdigest()
    splits: dict[Split, SplitData] = {}
    for split in ("train", "valid", "test"):
        count = int(options[f"{split}_examples"])
        drawn = Drawn(split, side=side, dashes=dashes, patch=patch)
        store = data_directory(cache_dir) / "pathfinder" / f"images-{sha256[:24]}-{split}-{count}"
        splits[split] = SplitData(drawn if count > MOST_KEPT else Kept(drawn, count, store), np.arange(count))
    # Evaluating the training set reads as many images as validation does: drawing all of them could take an hour.
    pool = splits["train"].order
    splits["train"] = splits["train"]._replace(order=pool[: int(options["valid_examples"])])
    return SequenceTask(spec, sha256, splits, where=where, sampler=functools.partial(shuffled, pool))
