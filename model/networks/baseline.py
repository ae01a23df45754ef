"""What the baseline networks share: how they read their input, and where dropout acts."""

from torch import Tensor, nn

from model.architectures.gated import LstmConfig
from model.cell.interface import DropoutMasks, check_input, dense_input
from model.cell.layer import DrawnLinear


class BaselineNetwork(nn.Module):
    """A recurrent layer behind a dense input and before a linear read-out; subclasses bring the recurrence."""

    backend_name = "torch"
    config: LstmConfig
    output: DrawnLinear

    def draw_masks(self, batch_size: int) -> DropoutMasks | None:
        """Draw dropout masks for one sequence from torch's global generator; None where nothing is dropped."""
        return DropoutMasks.draw(self.output.weight, (batch_size,), self.config)

    def read(self, x: Tensor, masks: DropoutMasks | None) -> tuple[Tensor, DropoutMasks | None]:
        """Check a segment and make it dense, with its dropout.

        Args:
            x: see `model.networks.elm_network.ElmNetwork.forward`.
            masks: dropout masks to use; None draws them in training mode.

        Returns:
            Values [B, T, I], and the masks that were used.

        Raises:
            InputError: see `model.cell.interface.check_input`.
        """
        config, dtype = self.config, self.output.weight.dtype
        x = check_input(x, config.n_in, dtype)
        masks = self.draw_masks(len(x)) if masks is None and self.training else masks
        x_BTI = dense_input(x, config.n_in, config.embedding_scale, dtype)
        # One mask per sequence, kept for all of its steps, as in the ELM Network.
        return (x_BTI if masks is None else x_BTI * masks.input_BI.unsqueeze(1)), masks

    def read_out(self, activity_BTN: Tensor, masks: DropoutMasks | None) -> Tensor:
        """Take the linear map of the recurrent layer's activity, [B, T, O], with its dropout."""
        seen_BTN = activity_BTN if masks is None else activity_BTN * masks.readout_BN.unsqueeze(1)
        logits: Tensor = self.output(seen_BTN)
        return logits
