"""Memory that training holds between forward and backward pass, from the configuration. Standard library only."""

from model.config import READOUT_D_M, ConfigError, ElmConfig


def saved_bytes(
    config: ElmConfig, *, backend: str, batch: int, steps: int, segment: int | None = None, itemsize: int = 4
) -> int:
    """Estimate the activations an ELM Network keeps for differentiation; measured ones are within a twentieth.

    Args:
        config: the network.
        backend: "torch", "native" or "triton".
        batch: rows of a batch; the native kernel rounds them up to 8, 16 or a multiple of 32.
        steps: time steps of a sequence.
        segment: see `model.networks.elm_network.ElmNetwork`: with it one segment and the states between segments are
            kept.
        itemsize: bytes of a number.

    Returns:
        Bytes, without parameters and the input itself.

    Raises:
        ConfigError: the back end is not known.
    """
    numbers = _numbers_per_step(config, backend)
    fixed = 0
    # weights rearranged for the call: scaled synapses, and the read-out's as a dense matrix
    if backend in ("torch", "triton"):
        fixed = (config.n_rec + config.n_out) * config.k_c + config.n_out * config.d_tree * config.n_rec
    if segment is None or segment >= steps:
        return itemsize * (batch * steps * numbers + fixed)
    # activity, average and memory of the recurrent neurons, memory of the read-out neurons
    state = config.n_rec * (config.d_m + 2) + config.n_out * READOUT_D_M
    if config.tau_b is not None:
        state += (config.n_rec + config.n_out) * config.d_tree
    outputs = 2 * config.n_out  # logits, by segment and joined
    # Every state between segments is kept, rounded up because the last segment may be shorter.
    return itemsize * (batch * (segment * numbers + -(-steps // segment) * state + steps * outputs) + fixed)


def _numbers_per_step(config: ElmConfig, backend: str) -> int:
    """Numbers kept for each time step and batch row."""
    hidden = config.n_rec * config.mlp_width * config.l_mlp
    memory, readout_memory = config.n_rec * config.d_m, config.n_out * READOUT_D_M
    if backend == "native":
        # for each neuron its activity, branches, two numbers for each memory unit and the MLP's hidden units
        recurrent = config.n_rec * (1 + config.d_tree) + 2 * memory + hidden
        return recurrent + config.n_out * (1 + config.d_tree) + 2 * readout_memory
    if backend == "torch":
        averages = config.n_rec if config.tau_r is not None else 0
        traces = config.n_rec * config.d_tree if config.tau_b is not None else 0
        # a table of [one, input, activity, average, memory]; beside it the activity again (the table's may be masked),
        # traces, the sigmoids of the memory's update and the MLPs' hidden units
        recurrent = 1 + config.n_in + 2 * config.n_rec + averages + traces + 2 * memory + hidden
        return recurrent + config.n_rec + 3 * readout_memory + config.n_out
    if backend == "triton":
        # what synapses read (one step more, which is not counted), the activity, what the MLPs read and their hidden
        # units, and two numbers for each memory unit
        recurrent = config.n_in + config.n_rec * (2 + config.d_tree + config.d_m) + hidden + 2 * memory
        return recurrent + 2 * readout_memory + config.n_out
    raise ConfigError(f"backend: {backend!r} is not valid; give torch, native or triton")
