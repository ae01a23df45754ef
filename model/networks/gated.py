"""LSTM, Chrono-LSTM and GRU baselines: torch's modules behind the interface of the ELM Network."""

import math
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear

from model.architectures.gated import ChronoLstmConfig, GruConfig, LstmConfig
from model.cell.interface import DropoutMasks, Output
from model.cell.layer import DrawnLinear
from model.networks.baseline import BaselineNetwork


class LstmState(NamedTuple):
    """State of an LSTM after a time step."""

    hidden_BN: Tensor
    cell_BN: Tensor


class GruState(NamedTuple):
    """State of a GRU after a time step."""

    hidden_BN: Tensor


class GatedNetwork(BaselineNetwork):
    """A layer of gated units -> linear read-out."""

    def __init__(self, config: LstmConfig, generator: Generator, dtype: torch.dtype) -> None:
        """Draw all weights U(-1, 1) / sqrt(n_rec), torch's own scheme, from `generator`."""
        super().__init__()
        self.config = config
        # torch's two modules differ in the number of states and gates, and in nothing else that matters here.
        self.is_gru = isinstance(config, GruConfig)
        kind: type[nn.GRU] | type[nn.LSTM] = nn.GRU if self.is_gru else nn.LSTM
        with torch.random.fork_rng(devices=[]):  # torch's own draws, overwritten below, leave no mark
            self.recurrent = kind(config.n_in, config.n_rec, batch_first=True, dtype=dtype)
        # Drawn in double precision and rounded last, as all weights here, so that both precisions start from the same
        # numbers.
        for parameter in self.recurrent.parameters():
            draw = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data.copy_((2.0 * draw - 1.0) / math.sqrt(config.n_rec))
        if isinstance(config, ChronoLstmConfig):
            _set_chrono_biases(self.recurrent, config, generator)
        self.output = DrawnLinear(config.n_rec, config.n_out, generator, dtype)

    def zero_state(self, batch_size: int) -> LstmState | GruState:
        """State before the first step: all zero."""
        zeros = self.output.weight.new_zeros(batch_size, self.config.n_rec)
        return GruState(zeros) if self.is_gru else LstmState(zeros, zeros.clone())

    def forward(
        self,
        x: Tensor,
        state: LstmState | GruState | None = None,
        *,
        masks: DropoutMasks | None = None,
        keep_activity: bool = False,
    ) -> Output:
        """Run a segment of a sequence; arguments and errors as for `model.networks.elm_network.ElmNetwork.forward`."""
        x_BTI, masks = self.read(x, masks)
        state = self.zero_state(len(x)) if state is None else state
        # torch's modules run a sequence in one call, into which no mask between two steps can be brought
        if masks is None or self.config.dropout_rec == 0.0:
            hidden_BTN, after = self._whole(x_BTI, state)
        else:
            hidden_BTN, after = self._stepwise(x_BTI, state, masks.recurrent_BN)
        nothing = hidden_BTN.new_zeros(())
        return Output(
            logits=self.read_out(hidden_BTN, masks),
            state=after,
            mlp_out_magnitude=nothing,
            population_activity=nothing,
            activity=hidden_BTN.detach() if keep_activity else None,
        )

    def _whole(self, x_BTI: Tensor, state: LstmState | GruState) -> tuple[Tensor, LstmState | GruState]:
        """Run torch's module: the hidden units of all steps, and the state after the last."""
        # torch's modules want states with a leading axis of layers, of which there is one
        before = tuple(tensor.unsqueeze(0).contiguous() for tensor in state)
        after: Any
        hidden_BTN, after = self.recurrent(x_BTI, before[0] if self.is_gru else before)
        return hidden_BTN, (
            GruState(after.squeeze(0)) if self.is_gru else LstmState(*(tensor.squeeze(0) for tensor in after))
        )

    def _stepwise(
        self, x_BTI: Tensor, state: LstmState | GruState, mask_BN: Tensor
    ) -> tuple[Tensor, LstmState | GruState]:
        """Run the same equations step by step, with dropout on what the recurrent weights read.

        All gates read one mask, the same at every step (Gal & Ghahramani 2016, "A Theoretically Grounded Application of
        Dropout in Recurrent Neural Networks", arXiv 1512.05287, section 4: tied weights). What a unit keeps by itself,
        an LSTM's cell and the share of its hidden unit that a GRU carries over, is not dropped: scaled by 1 / (1 - p)
        at every step it would grow without bound.
        """
        names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
        input_weight, input_bias, weight, bias = (self.recurrent.get_parameter(name) for name in names)
        # what depends on the input alone is one product over the sequence
        drive_BTK = linear(x_BTI, input_weight, input_bias)
        hidden = []
        for drive_BK in drive_BTK.unbind(1):
            gates_BK = linear(state[0] * mask_BN, weight, bias)
            state = _gru_step(drive_BK, gates_BK, *state) if self.is_gru else _lstm_step(drive_BK + gates_BK, *state)
            hidden.append(state[0])
        return torch.stack(hidden, 1), state


def _lstm_step(gates_BK: Tensor, _: Tensor, cell_BN: Tensor) -> LstmState:
    """torch.nn.LSTM's equations for one step, from the sums of its gates."""
    input_BN, forget_BN, candidate_BN, output_BN = gates_BK.chunk(4, dim=-1)
    cell_BN = forget_BN.sigmoid() * cell_BN + input_BN.sigmoid() * candidate_BN.tanh()
    return LstmState(output_BN.sigmoid() * cell_BN.tanh(), cell_BN)


def _gru_step(drive_BK: Tensor, gates_BK: Tensor, hidden_BN: Tensor) -> GruState:
    """torch.nn.GRU's equations for one step, from the sums over the input and over the hidden units."""
    reset_x, update_x, new_x = drive_BK.chunk(3, dim=-1)
    reset_h, update_h, new_h = gates_BK.chunk(3, dim=-1)
    new_BN = (new_x + (reset_x + reset_h).sigmoid() * new_h).tanh()
    return GruState(new_BN + (update_x + update_h).sigmoid() * (hidden_BN - new_BN))


def _set_chrono_biases(lstm: nn.RNNBase, config: ChronoLstmConfig, generator: Generator) -> None:
    """Let forget gates start at timescales drawn from the range, and input gates close as much as those keep.

    A unit with forget bias b forgets within 1 + exp(b) steps, so b = log(tau - 1) with tau uniform in the range
    (Tallec & Ollivier 2018, eq. 16); the input gate's bias is -b. The other of torch's two biases is 0 for these gates.
    """
    n = config.n_rec  # torch stacks the gates in the order input, forget, cell, output
    draw = torch.rand(n, generator=generator, dtype=torch.float64)
    tau_N = config.tau_m_min + (config.tau_m_max - config.tau_m_min) * draw
    forget_N = torch.log(tau_N - 1.0)
    for name, sign in (("bias_ih_l0", 1.0), ("bias_hh_l0", 0.0)):
        bias = lstm.get_parameter(name).data
        bias[:n], bias[n : 2 * n] = -sign * forget_N, sign * forget_N
