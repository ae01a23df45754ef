"""What differs between the two halves of the study: everything else is one design, one set of rules and one code."""

from dataclasses import dataclass
from pathlib import Path

GRIDS = Path(__file__).parent / "grids"

MAIN, K_C_128, HOLDOUT, CONVERGED, LONGER, BASELINES, BASELINES_PILOT = (
    "",
    "_k_c_128",
    "_holdout",
    "_converged",
    "_longer",
    "_baselines",
    "_baselines_pilot",
)
"""Parts of a half; each is a grid of its own."""

BUDGETS = (10_000, 30_000, 100_000, 300_000)

LARGEST, SMALLER = 300_000, 100_000
"""The budget that is predicted before it is run, and the largest one that the prediction rests on."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One half of the study."""

    name: str
    """Of its folder of results, and in the names of its grids."""
    unit: str
    """What its metric is measured in, for sentences."""
    low: int
    """The smaller k_c."""
    high: int
    """The larger k_c."""
    added: int | None = None
    """The k_c that the design adds where the larger one beats the smaller one by the rule of H3."""
    steps: int
    """Steps of a training."""
    ceiling: float | None = None
    """Mean of the metric above which it is near its end, so that the test loss is judged instead."""
    has_baselines: bool = False
    """Whether other architectures are compared (H6)."""
    grids: Path = GRIDS
    """Folder of its grids."""

    @property
    def longer(self) -> int:
        """Steps of a point that was trained twice as long."""
        return 2 * self.steps

    @property
    def converged(self) -> int:
        """Steps of H5."""
        return 4 * self.steps

    @property
    def lines(self) -> int:
        """Most lines of one P and one k_c that the design can have."""
        return len(BUDGETS) * (2 + (self.added is not None))

    def grid(self, part: str) -> Path:
        """File of one part."""
        return self.grids / f"study2_{self.name}{part}.yaml"


TEXT = Task(name="text", unit="bits per character", low=16, high=64, added=128, steps=4_000, has_baselines=True)
SPIKES = Task(name="spikes", unit="accuracy", low=32, high=128, steps=3_000, ceiling=0.97)

TASKS = {task.name: task for task in (TEXT, SPIKES)}
