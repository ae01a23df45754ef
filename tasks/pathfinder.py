"""The task `pathfinder`: are two markers joined by one dashed path? (Linsley et al. 2018; Long Range Arena).

The answer is in the connection alone. A scene holds two target paths of equal length and some short distractors. The
second path is placed so that one of its ends is exactly as far from the first path's end as that path's own ends are
from each other. Only then a coin decides where the second marker goes: to the other end of the first path (joined) or
to that end of the second path (not joined). So everything drawn but one marker is independent of the answer, and the
distance of the markers has the same distribution for both.
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

from tasks.batch import Split
from tasks.cache import build_once, data_directory, write_atomically
from tasks.options import OptionValue
from tasks.sequences import Numbers, SequenceTask, SplitData, shuffled
from tasks.spec import TaskSpec

Points = npt.NDArray[np.float64]

# Lengths in pixels of a 32 x 32 image; larger images are drawn to scale. Chosen by eye: no source gives them.
_STEP, _DASH, _HALF_WIDTH, _MARKER_RADIUS = 2.3, 1.5, 0.35, 1.3
_CLEARANCE, _MARGIN = 2.4, 2.0
_LARGEST_TURN = 0.55
_CANDIDATES = 40
_DISTRACTORS = {3: 2, 6: 8, 9: 6, 14: 4}
"""Attempts to place a distractor, by the dashes of the target paths; a distractor has a third of their length."""
_SPLIT_SEEDS: dict[Split, int] = {"train": 0, "valid": 1, "test": 2}
_SIDE = 32.0


class Scene(NamedTuple):
    """Geometry of an image in units of a 32 x 32 image; [points, 2] each."""

    paths: list[Points]
    """Corner points of the two target paths and the distractors."""
    markers: Points
    """Centres of the two markers."""
    joined: bool
    """The answer."""


def draw_scene(random: np.random.Generator, dashes: int) -> Scene:
    """Draws a scene with two paths of `dashes` dashes."""
    while True:
        first = _place(_chains(random, dashes), [])
        if first is None:
            continue
        second = _place(_at_equal_distance(random, _chains(random, dashes), first), [first])
        if second is None:
            continue
        paths = [first, second]
        for _ in range(_DISTRACTORS[dashes]):
            distractor = _place(_chains(random, max(2, dashes // 3)), paths)
            if distractor is not None:
                paths.append(distractor)
        joined = bool(random.integers(2))
        return Scene(paths, np.stack([first[0], first[-1] if joined else second[0]]), joined)


def _chains(random: np.random.Generator, dashes: int) -> Points:
    """Returns candidates of random position and bounded turning, [candidates, dashes + 1, 2]."""
    turns = random.uniform(-_LARGEST_TURN, _LARGEST_TURN, (_CANDIDATES, dashes))
    turns[:, 0] = random.uniform(0, 2 * np.pi, _CANDIDATES)
    headings = np.cumsum(turns, axis=1)
    steps = _STEP * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    start = random.uniform(_MARGIN, _SIDE - _MARGIN, (_CANDIDATES, 1, 2))
    return np.concatenate([start, start + np.cumsum(steps, axis=1)], axis=1)


def _at_equal_distance(random: np.random.Generator, chains: Points, first: Points) -> Points:
    """Moves candidates so that their first point is as far from the first path's start as that path's end is."""
    distance = np.linalg.norm(first[-1] - first[0])
    angle = random.uniform(0, 2 * np.pi, len(chains))
    target = first[0] + distance * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.asarray(chains - chains[:, :1] + target[:, None])


def _place(chains: Points, others: list[Points]) -> Points | None:
    """Returns the first candidate that stays inside, keeps clear of itself and of the other paths."""
    inside = ((chains >= _MARGIN) & (chains <= _SIDE - _MARGIN)).all(axis=(1, 2))
    for candidate in chains[inside]:
        if _clear_of_itself(candidate) and all(_clear(candidate, other) for other in others):
            return np.asarray(candidate)
    return None


def _clear_of_itself(path: Points) -> bool:
    """Tells whether points more than two dashes apart along the path keep apart."""
    gaps = _gaps(path, path)
    return bool((gaps[np.triu_indices(len(path), k=3)] > _CLEARANCE).all())


def _gaps(one: Points, other: Points) -> Points:
    return np.hypot(one[:, None, 0] - other[None, :, 0], one[:, None, 1] - other[None, :, 1])


def _clear(one: Points, other: Points) -> bool:
    """Tells whether two paths keep apart, with room for a marker at every end of either."""
    gaps = _gaps(_dense(one), _dense(other))
    room = np.full(gaps.shape, _CLEARANCE)
    room[[0, -1], :] += _MARKER_RADIUS
    room[:, [0, -1]] += _MARKER_RADIUS
    return bool((gaps > room).all())


def _dense(path: Points) -> Points:
    """Adds the middle of every dash."""
    points = np.empty((2 * len(path) - 1, 2))
    points[::2], points[1::2] = path, (path[1:] + path[:-1]) / 2
    return points


def render(scene: Scene, side: int) -> npt.NDArray[np.uint8]:
    """Draws a scene with soft edges.

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
    half = max(_HALF_WIDTH * scale, 0.5)
    for head, tail in zip(heads, tails, strict=True):
        _draw(brightness, head, tail, half)
    for marker in scene.markers * scale:
        _draw(brightness, marker, marker, _MARKER_RADIUS * scale)
    return np.rint(brightness * 255).astype(np.uint8)


def _draw(brightness: Points, head: Points, tail: Points, radius: float) -> None:
    """Draws a thick line (a disc, when it has no length) into its neighbourhood, one pixel soft at the edge."""
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


@functools.lru_cache(maxsize=256)
def example(split: Split, number: int, side: int, dashes: int) -> tuple[npt.NDArray[np.uint8], bool]:
    """Returns image and answer of a numbered example; the answer and the geometry do not depend on `side`."""
    scene = draw_scene(np.random.default_rng([_SPLIT_SEEDS[split], dashes, number]), dashes)
    return render(scene, side), scene.joined


class Drawn:
    """Images that are drawn whenever they are asked for."""

    def __init__(self, split: Split, side: int, dashes: int) -> None:
        self._draw = functools.partial(example, split, side=side, dashes=dashes)

    def inputs(self, numbers: Numbers) -> Tensor:
        """Returns brightness 0..1 in row order, float32 [B, side * side, 1]."""
        return _as_sequences(np.stack([self._draw(int(number))[0] for number in numbers]))

    def targets(self, numbers: Numbers) -> Numbers:
        """Returns 1 for joined markers, else 0, [B]."""
        return np.array([self._draw(int(number))[1] for number in numbers], dtype=np.int64)


class Kept:
    """Images of an evaluation split, drawn on first use and kept in the cache directory."""

    def __init__(self, drawn: Drawn, count: int, store: Path) -> None:
        self._drawn, self._count, self._store = drawn, count, store

    def inputs(self, numbers: Numbers) -> Tensor:
        """Returns brightness 0..1 in row order, float32 [B, side * side, 1]."""
        return _as_sequences(self._arrays()[0][numbers])

    def targets(self, numbers: Numbers) -> Numbers:
        """Returns 1 for joined markers, else 0, [B]."""
        answers: Numbers = self._arrays()[1][numbers]
        return answers

    @functools.cache  # noqa: B019 - lives as long as the task
    def _arrays(self) -> tuple[npt.NDArray[np.uint8], Numbers]:
        answers = self._store.with_suffix(".answers.npy")
        build_once(answers, lambda: self._write(answers))
        return np.load(self._store.with_suffix(".npy"), mmap_mode="r"), np.load(answers)

    def _write(self, answers: Path) -> None:
        numbers = np.arange(self._count)
        pixels = (self._drawn.inputs(numbers)[..., 0] * 255).round().to(torch.uint8).numpy()
        for path, array in ((self._store.with_suffix(".npy"), pixels), (answers, self._drawn.targets(numbers))):
            with write_atomically(path) as file:
                np.save(file, array)


def _as_sequences(images: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1, 1).astype(np.float32) / 255)


def load_pathfinder(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
) -> SequenceTask:
    """Loads the task `pathfinder`: training images are drawn on the fly, evaluation images once."""
    side, dashes = int(options["side"]), int(options["dashes"])
    first = b"".join(example("test", number, side, dashes)[0].tobytes() for number in range(4))
    sha256 = hashlib.sha256(first).hexdigest()
    pool = np.arange(int(options["train_examples"]))
    # Evaluating the training set reads as many images as validation does: drawing all of them would take an hour.
    train = SplitData(Drawn("train", side, dashes), pool[: int(options["valid_examples"])])
    splits: dict[Split, SplitData] = {"train": train}
    for split in ("valid", "test"):
        count = int(options[f"{split}_examples"])
        store = data_directory(cache_dir) / "pathfinder" / f"{sha256[:24]}-{split}-{count}"
        splits[split] = SplitData(Kept(Drawn(split, side, dashes), count, store), np.arange(count))
    return SequenceTask(spec, sha256, splits, where=where, sampler=functools.partial(shuffled, pool))
