"""A cell in a person's own file: counted, built from its seed, and told in one line where it is wrong."""

import importlib.metadata
import shutil
from pathlib import Path

import pytest
import torch

import model.cells.lru
from cluster.errors import CodeError
from model.architecture import BudgetError
from model.architectures.cells import ENTRY_POINTS
from model.budget import counts
from model.cells.probe import probe
from model.config import ConfigError
from model.flops import flops
from model.network import build_network
from model.registry import _others_architecture, architecture, architecture_of, full_name, read_config

MINE = """
import torch
from torch import nn

from model.cell.interface import Output
from model.cells.base import Cell


class Mine(Cell):
    def __init__(self, n_in: int, n_out: int, n_rec: int, width: int = 3, decay: float = 0.5):
        super().__init__()
        self.n_rec, self.decay = n_rec, decay
        self.input = nn.Sequential(nn.Linear(n_in, width), nn.Linear(width, n_rec))
        self.output = nn.Linear(n_rec, n_out)

    def zero_state(self, batch_size):
        return (torch.zeros(batch_size, self.n_rec),)

    def forward(self, x, state):
        (level,), steps = state, []
        for drive in self.input(x).unbind(1):
            level = self.decay * level + torch.tanh(drive)
            steps.append(level)
        return Output(self.output(torch.stack(steps, 1)), (level,))
"""
K_E = "\n    def k_e(self):\n        return 1\n\n    def k_c(self):\n        return 3\n"
SIZES = {"n_in": 5, "n_out": 2}


def named(folder: Path, text: str = MINE, name: str = "Mine"):
    """The architecture of a class in a file of this content."""
    (folder / "mine.py").write_text(text)
    return architecture(full_name(f"mine.py:{name}", [folder]))


def test_settings_are_the_arguments_of_the_constructor(tmp_path):
    mine = named(tmp_path)
    assert mine.settings() == {"n_rec": int, "width": int, "decay": float}
    assert [size.field for size in mine.sizes()] == ["n_rec"]


def test_what_is_counted_is_what_is_built_and_lies_in_the_configuration(tmp_path):
    mine = named(tmp_path, MINE + K_E)
    config = mine.configure({**SIZES, "n_rec": 7})
    network = build_network(config, seed=0)
    total = sum(p.numel() for p in network.parameters())
    assert counts(config).trainable_params == total
    assert (counts(config).k_e, counts(config).k_c, counts(config).readout_params) == (1, 3, total - 28)
    assert (config.n_rec, config.width, config.decay) == (7, 3, 0.5)  # defaults included
    assert read_config(config.architecture, config.plain()) == config
    assert architecture_of(config) is architecture(config.architecture)
    assert flops(config).forward == 2 * total


def test_without_the_optional_methods_p_is_what_a_unit_has(tmp_path):
    counted = counts(named(tmp_path).configure({**SIZES, "n_rec": 7}))
    assert (7 * counted.k_e, counted.k_c) == (pytest.approx(counted.trainable_params), 0)


@pytest.mark.parametrize("name", ["lru", "min_gru", "mine"])
@pytest.mark.parametrize("budget", [300, 1001, 20_000, 3_000_000])
def test_the_largest_size_within_the_budget_is_solved(tmp_path, name, budget):
    entry = named(tmp_path) if name == "mine" else architecture(name)
    n_rec = entry.solve(SIZES, "n_rec", budget)

    def params(value):
        return entry.counts(entry.configure({**SIZES, "n_rec": value})).trainable_params

    assert params(n_rec) <= budget < params(n_rec + 1)


def test_a_count_that_is_no_parabola_is_solved_too(tmp_path):
    mine = named(
        tmp_path,
        MINE.replace("width: int = 3,", "").replace("super().__init__()", "super().__init__(); width = n_rec**2"),
    )
    assert mine.solve(SIZES, "n_rec", 5000) == max(
        n for n in range(1, 40) if mine.counts(mine.configure({**SIZES, "n_rec": n})).trainable_params <= 5000
    )


def test_a_budget_that_is_too_small_names_the_smallest(tmp_path):
    with pytest.raises(BudgetError, match="budget: 9 is too small for n_rec = 1; the smallest feasible budget is 26"):
        named(tmp_path).solve(SIZES, "n_rec", 9)


def test_many_points_are_counted_fast(tmp_path):
    """A solution takes a handful of counts, not one for each halving: the first three are shared by all budgets."""
    mine, made = named(tmp_path), []
    assert mine.arguments, "read before the constructor is replaced"
    before = mine.cell_class.__init__

    def counting(self, *args, **kwargs):
        made.append(kwargs["n_rec"])
        before(self, *args, **kwargs)

    mine.cell_class.__init__ = counting
    try:
        for budget in range(1000, 100_000, 1000):
            mine.solve(SIZES, "n_rec", budget)
    finally:
        mine.cell_class.__init__ = before
    assert len(made) <= 3 + 2 * 99


def test_a_seed_gives_the_same_bits_and_leaves_the_global_generator_alone(tmp_path):
    config = named(tmp_path).configure({**SIZES, "n_rec": 7})
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, same, other = (build_network(config, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_it_is_built_in_double_precision(tmp_path):
    network = build_network(named(tmp_path).configure({**SIZES, "n_rec": 7}), seed=0, dtype=torch.float64)
    output = network(torch.randint(5, (2, 4)))
    assert (output.logits.dtype, output.state[0].dtype) == (torch.float64, torch.float64)
    assert torch.get_default_dtype() == torch.float32


def test_ours_as_a_file_of_ones_own_is_the_same_network(tmp_path):
    shutil.copy(model.cells.lru.__file__, tmp_path / "mine.py")
    name = full_name("mine.py:Lru", [tmp_path])
    ours, theirs = (build_network(architecture(one).configure({**SIZES, "n_rec": 6}), seed=4) for one in ("lru", name))
    x = torch.randint(5, (2, 9))
    assert torch.equal(ours(x).logits, theirs(x).logits)


def test_another_version_of_a_file_is_another_architecture(tmp_path):
    first = named(tmp_path).name
    assert named(tmp_path, MINE + "# edited\n").name != first


def test_an_installed_package_offers_architectures_by_entry_points(monkeypatch, tmp_path):
    (tmp_path / "package_of_cells.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    points = importlib.metadata.EntryPoints(
        [importlib.metadata.EntryPoint("offered", "package_of_cells:Mine", ENTRY_POINTS)]
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points.select(group=group))
    assert full_name("offered", []) == "offered"
    assert architecture("offered").configure({**SIZES, "n_rec": 2}).n_rec == 2
    with pytest.raises(
        ConfigError, match=r"^architecture: 'ofered' is no architecture; did you mean 'offered'\? Valid: elm, "
    ):
        full_name("ofered", [])
    _others_architecture.cache_clear()


BARE = "from torch import nn\nclass Mine(nn.Module):\n"
PLANNED = {
    BARE + "    def __init__(self, n_rec): super().__init__()\n": (
        "class Mine lacks forward, zero_state, the constructor's argument n_in, the constructor's argument n_out; see "
        "model.cells.base.Cell"
    ),
    "from model.cells.base import Cell\nclass Mine(Cell):\n    def __init__(self, n_in, n_out): ...\n"
    "    def forward(self, x, state): ...\n": "class Mine lacks zero_state; see model.cells.base.Cell",
    "Mine = 3\n": "Mine is no torch module; write a class that inherits from model.cells.base.Cell",
    "class Yours: ...\n": "has no Mine. Valid: Yours",
    "def f(:\n": "mine.py, line 1: SyntaxError",
    "\nimport no_such_package\n": "mine.py, line 2: ModuleNotFoundError: No module named 'no_such_package'",
    MINE.replace("width: int = 3, decay: float = 0.5", "**width"): "argument width: a grid gives settings by name",
    MINE.replace("width: int = 3", "width: list = ()"): "<class 'list'> cannot be given in a grid; annotate it as int",
    MINE.replace("width: int = 3", "k_e: int = 3"): "argument k_e: the name is taken",
    MINE.replace("width: int = 3", "d_m: float = 3"): "<class 'float'> is not valid; d_m is int in every row",
    MINE + "\n    def k_e(self):\n        return 1\n": "has k_e and lacks k_c; give both or neither",
    MINE + K_E.replace("return 1", "return 99"): "n_rec (k_e + k_c) = 7 (99 + 3) must not be more than its",
    MINE + K_E.replace("return 3", "return 3.5"): "Mine.k_c returned 3.5, not a whole number",
    MINE + K_E.replace("return 3", "return self.no"): "line 30: AttributeError",
    MINE.replace("self.n_rec, self.decay = n_rec", "self.n_rec, self.decay = None"): "n_rec is None; its",
    MINE.replace("self.decay = n_rec, decay", "self.decay = n_rec, 1 / 0"): "mine.py, line 12: ZeroDivisionError",
    MINE.replace("n_rec, decay\n", "int(torch.ones(1)), decay\n"): "meta device, where tensors have no values",
    MINE.split("        self.input")[0] + MINE.partition("n_rec, n_out)\n")[2]: "class Mine has no trainable parameter",
}  # fmt: skip


@pytest.mark.parametrize("text", PLANNED, ids=PLANNED.get)
def test_a_class_that_cannot_be_planned_is_one_line(tmp_path, text):
    with pytest.raises(CodeError) as error:
        named(tmp_path, text).configure({**SIZES, "n_rec": 7})
    assert PLANNED[text] in str(error.value)
    assert str(error.value).startswith("architecture: ")
    assert "\n" not in str(error.value)


def test_a_count_that_does_not_grow_is_one_line(tmp_path):
    text = MINE.replace("nn.Linear(width, n_rec)", "nn.Linear(width, 4)").replace(
        "nn.Linear(n_rec, n_out)", "nn.Linear(4, n_out)"
    )
    with pytest.raises(CodeError, match=r"Mine: its parameters do not grow with n_rec: 44 at n_rec = 1 and 44 at 2"):
        named(tmp_path, text).solve(SIZES, "n_rec", 500)


PROBED = {
    MINE.replace("return Output(self.output(torch.stack(steps, 1)),", "return Output(self.output(level),"): (
        "Mine.forward returned logits (2, 2); for x (2, 3) they must be (2, 3, 2)"
    ),
    MINE.replace("return Output(self.output(torch.stack(steps, 1)),", "return (self.output(torch.stack(steps, 1)),"): (
        "Mine.forward returned tuple, not a model.cell.interface.Output"
    ),
    MINE.replace(", (level,))", ", level)"): "Mine.forward returned a state of Tensor; it must be a tuple of tensors",
    MINE.replace(", (level,))", ", (level[:, :1],))"): "a state of shapes [(2, 1)]; zero_state gives [(2, 7)]",
    MINE.replace("torch.zeros(batch_size, self.n_rec)", "torch.zeros(self.n_rec, batch_size)"): "the batch, here 2",
    MINE.replace("torch.zeros(batch", "torch.ones(batch"): "zero_state returned numbers other than 0",
    MINE.replace("torch.tanh(drive)", "torch.log(-drive.abs())"): "logits that are not finite on a batch of random",
    MINE.replace("torch.tanh(drive)", "drive.abs().sub(drive.abs()).sqrt()"): "gradients on a batch of random",
    MINE.replace("stack(steps, 1)", "stack(steps, 1).detach()").replace("self.output(torch", "(torch")
    .replace(", (level,))", "[..., :2], (level,))"): "its logits do not depend on its parameters",
    MINE.replace("self.n_rec, self.decay = n_rec, decay", "self.n_rec, self.decay = n_rec, decay\n"
    "        import time; torch.manual_seed(time.perf_counter_ns())"): "two networks of one seed differ",
    MINE.replace("self.input(x)", "self.inptu(x)"): "mine.py, line 21: AttributeError",
    MINE.replace("nn.Linear(n_rec, n_out)\n", "nn.Linear(n_rec, n_out)\n        self.z = nn.Parameter("
    "torch.zeros(2, dtype=torch.complex64))\n"): "parameter z is no real number; keep two for a complex one",
}  # fmt: skip


@pytest.mark.parametrize("text", PROBED, ids=PROBED.get)
def test_a_cell_that_returns_something_else_is_one_line(tmp_path, text):
    config = named(tmp_path, text).configure({**SIZES, "n_rec": 7})
    with pytest.raises(CodeError) as error:
        probe(config, ids=True)
    assert PROBED[text] in str(error.value)
    assert str(error.value).startswith("architecture: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["lru", "min_gru"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ids", [True, False])
def test_ours_pass_what_others_must(name, dtype, ids):
    probe(architecture(name).configure({**SIZES, "n_rec": 3}), ids=ids, dtype=dtype)
