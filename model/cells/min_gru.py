"""minGRU: a GRU whose gates look at the input alone, so that all time steps are computed at once.

Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs All We Needed?", arXiv 2410.01201, section 3.1 and, for the
logarithms, appendix B:

    z_t = sigmoid(W_z x_t + b_z),  c_t = g(W_h x_t + b_h),  h_t = (1 - z_t) h_{t-1} + z_t c_t,

with g(v) = v + 1/2 for v >= 0 and sigmoid(v) below, which is positive, so that the sum over time can be taken of
logarithms.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from model.cell.interface import Output
from model.cells.base import Cell, drop_channels


class MinGru(Cell):
    """Layers of minGRU units and a linear read-out; a unit and those above it count as one."""

    def __init__(self, n_in: int, n_out: int, n_rec: int, layers: int = 2, dropout_in: float = 0.0) -> None:
        """Draw weights as torch's linear layers do.

        Args:
            n_in: input channels.
            n_out: outputs.
            n_rec: units of each layer.
            layers: layers; the gates of the first look at the input alone.
            dropout_in: dropout probability of what each layer and the read-out read, one mask per sequence.
        """
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers: {layers} is not valid; give an integer >= 1")
        if not 0.0 <= dropout_in < 1.0:
            raise ValueError(f"dropout_in: {dropout_in} is not valid; give 0 <= dropout_in < 1")
        self.n_in, self.n_rec, self.layers, self.dropout_in = n_in, n_rec, layers, dropout_in
        widths = [n_in, *[n_rec] * (layers - 1)]
        self.gates = nn.ModuleList(nn.Linear(width, 2 * n_rec) for width in widths)
        self.output = nn.Linear(n_rec, n_out)

    def k_e(self) -> int:
        """Biases of a unit, of all layers."""
        return 2 * self.layers

    def k_c(self) -> int:
        """Input weights of a unit, of all layers."""
        return 2 * (self.n_in + (self.layers - 1) * self.n_rec)

    def zero_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Hidden units of each layer, zero."""
        return tuple(torch.zeros(batch_size, self.n_rec) for _ in range(self.layers))

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> Output:
        """Run a segment of a sequence; see `Cell.forward`."""
        after = []
        for gates, before_BN in zip(self.gates, state, strict=True):
            x = scan(gates(self.drop(x)), before_BN)
            after.append(x[:, -1])
        return Output(self.output(self.drop(x)), tuple(after))

    def drop(self, values_BTI: Tensor) -> Tensor:
        """Drop channels for whole sequences, in training. None are dropped between steps, where no weights are."""
        return drop_channels(values_BTI, self.dropout_in, training=self.training)


def scan(gates_BTK: Tensor, before_BN: Tensor) -> Tensor:
    """Compute the hidden units of all time steps at once, in logarithms.

    Args:
        gates_BTK: W x + b of the gates, then of the candidates, [B, T, 2 N].
        before_BN: hidden units before the first step, not negative.

    Returns:
        Hidden units [B, T, N].
    """
    gate_BTN, candidate_BTN = gates_BTK.chunk(2, dim=-1)
    # log (1 - z) and log z, without a difference of numbers near 1
    log_keep_BTN, log_take_BTN = -softplus(gate_BTN), -softplus(-gate_BTN)
    # log (h_t / product of all keeps up to t) is the logarithm of a sum over the steps up to t
    kept_BTN = log_keep_BTN.cumsum(1)
    # The zero state has no logarithm: the smallest number stands for it, below the rounding of whatever is added.
    start_BN = before_BN.clamp_min(torch.finfo(before_BN.dtype).tiny).log()
    terms_BTN = log_take_BTN + _log_g(candidate_BTN) - kept_BTN
    sums_BTN = torch.cat([start_BN.unsqueeze(1), terms_BTN], 1).logcumsumexp(1)[:, 1:]
    return (kept_BTN + sums_BTN).exp()


def _log_g(v: Tensor) -> Tensor:
    return torch.where(v >= 0, (v.relu() + 0.5).log(), -softplus(-v))
