"""Linear recurrent unit: a diagonal complex recurrence, whose time steps are computed by an associative scan.

Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De 2023, "Resurrecting Recurrent Neural Networks for Long Sequences",
arXiv 2303.06349, section 3 and appendix A:

    s_t = lambda s_{t-1} + gamma (B x_t),  y_t = Re(C s_t) + D x_t,  logits = W gelu(y_t) + b,

with lambda = exp(-exp(nu) + i exp(theta)), whose magnitude is below 1 whatever is learnt, and gamma = exp(g), which
starts at sqrt(1 - |lambda|^2) and makes the state as large as its input.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from model.cell.interface import Output
from model.cells.base import Cell, drop_channels


class Lru(Cell):
    """One layer of complex units, a nonlinear mixture of them, and a linear read-out."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        n_rec: int,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = math.tau,
        dropout_in: float = 0.0,
    ) -> None:
        """Draw eigenvalues uniformly on a ring of the complex plane (lemma 3.2), and Gaussian weights.

        Args:
            n_in: input channels.
            n_out: outputs.
            n_rec: complex units.
            r_min: smallest magnitude of an eigenvalue at the start.
            r_max: largest magnitude at the start.
            max_phase: largest angle of an eigenvalue at the start; small ones favour long memories.
            dropout_in: dropout probability of what the units and the read-out read, one mask per sequence.
        """
        super().__init__()
        if not 0.0 <= r_min < r_max <= 1.0:
            raise ValueError(f"r_min, r_max: {r_min}, {r_max} are not valid; give 0 <= r_min < r_max <= 1")
        if not 0.0 < max_phase <= math.tau:
            raise ValueError(f"max_phase: {max_phase} is not valid; give an angle above 0, up to 2 pi")
        if not 0.0 <= dropout_in < 1.0:
            raise ValueError(f"dropout_in: {dropout_in} is not valid; give 0 <= dropout_in < 1")
        self.n_in, self.n_rec, self.dropout_in = n_in, n_rec, dropout_in
        # Away from the ends, where a magnitude of 1 or an angle of 0 has no logarithm. Not by `clamp`, for which the
        # meta device loads a library of symbols: seconds of a plan.
        magnitude, phase = (1e-4 + (1.0 - 2e-4) * torch.rand(n_rec) for _ in range(2))
        nu = -0.5 * torch.log(magnitude * (r_max**2 - r_min**2) + r_min**2)
        self.log_nu = nn.Parameter(nu.log())
        self.log_theta = nn.Parameter((max_phase * phase).log())
        self.log_gamma = nn.Parameter(0.5 * torch.log(-torch.expm1(-2.0 * nu)))
        # Real and imaginary part side by side on the last axis: an optimiser moves real numbers.
        self.b = nn.Parameter(torch.randn(n_rec, n_in, 2) / math.sqrt(2 * n_in))
        self.c = nn.Parameter(torch.randn(n_rec, n_rec, 2) / math.sqrt(n_rec))
        self.d = nn.Parameter(torch.randn(n_rec, n_in) / math.sqrt(n_in))
        self.output = nn.Linear(n_rec, n_out)

    def k_e(self) -> int:
        """Magnitude, angle and scale of a unit's eigenvalue."""
        return 3

    def k_c(self) -> int:
        """A unit's weights from the input, twice into the state and once past it, and from all states."""
        return 3 * self.n_in + 2 * self.n_rec

    def zero_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Real and imaginary parts of the units, zero."""
        return (torch.zeros(batch_size, self.n_rec, 2),)

    def eigenvalues(self) -> Tensor:
        """The factors by which the units decay and turn in a time step, complex [N]."""
        return torch.polar(torch.exp(-self.log_nu.exp()), self.log_theta.exp())

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> Output:
        """Run a segment of a sequence; see `Cell.forward`."""
        x = drop_channels(x, self.dropout_in, training=self.training)
        real_BTN, imaginary_BTN = ((x @ part.T) * self.log_gamma.exp() for part in self.b.unbind(-1))
        drive_BTN = torch.complex(real_BTN, imaginary_BTN)
        units_BTN = scan(self.eigenvalues(), drive_BTN, torch.view_as_complex(state[0].contiguous()))
        c_real, c_imaginary = self.c.unbind(-1)
        y_BTN = units_BTN.real @ c_real.T - units_BTN.imag @ c_imaginary.T + x @ self.d.T
        seen_BTN = drop_channels(gelu(y_BTN), self.dropout_in, training=self.training)
        return Output(self.output(seen_BTN), (torch.view_as_real(units_BTN[:, -1]),))


def scan(decay_N: Tensor, drive_BTN: Tensor, before_BN: Tensor) -> Tensor:
    """Compute s_t = decay s_{t-1} + drive_t for all time steps, in about log2(T) passes over all of them.

    After a pass each step holds the sum over twice as many steps before it (Hillis & Steele 1986).

    Args:
        decay_N: complex factors.
        drive_BTN: complex input.
        before_BN: complex state before the first step.
    """
    first_BN = drive_BTN[:, 0] + decay_N * before_BN
    sums_BTN = torch.cat([first_BN.unsqueeze(1), drive_BTN[:, 1:]], 1)
    reach = 1
    while reach < sums_BTN.shape[1]:
        later_BTN = sums_BTN[:, reach:] + decay_N * sums_BTN[:, :-reach]
        sums_BTN = torch.cat([sums_BTN[:, :reach], later_BTN], 1)
        decay_N, reach = decay_N * decay_N, 2 * reach
    return sums_BTN
