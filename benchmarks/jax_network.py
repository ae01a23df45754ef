"""The ELM Network in JAX: the stack of the authors' published code, to compare speeds with in one run.

Written anew from the definition, in that stack's idiom: one neuron's step for one sequence, `vmap` over neurons, a scan
over time, `vmap` over the batch, and all of a training step under `jit`. `tests/benchmarks/test_jax_network.py` holds
loss and gradients against `model.backends.reference`.
"""

import os
from collections.abc import Callable
from typing import Any

# Read when JAX starts: one thread, as the other columns have. What a person set is kept.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
from torch import Tensor

from model.cell.layer import TANH_SCALE, TANH_SLOPE, ElmLayer
from model.config import ElmConfig
from model.networks.elm_network import ElmNetwork

Weights = dict[str, Any]
"""arrays of one layer or of all, by name; the first axis of a layer's is its neurons"""

_ADAM = (0.9, 0.999, 1e-8)
"""torch's defaults: decay of both moments, and what keeps the root from zero"""


def weights_of(network: ElmNetwork) -> tuple[Weights, Weights]:
    """Copy what is trained, and what is not, of a network without learnt timescales."""
    layers = {"hidden": network.hidden, "readout": network.readout}
    trained: Weights = {name: _trained(layer) for name, layer in layers.items()}
    trained["output"] = {"weight": _array(network.output.weight), "bias": _array(network.output.bias)}
    return trained, {name: _fixed(layer) for name, layer in layers.items()}


def loss_function(config: ElmConfig) -> Callable[[Weights, Weights, Any, Any], Any]:
    """The loss of `benchmarks.model.loss_of`, of ids [B, T] or values [B, T, I] and targets [B, T] or [B]."""

    def loss(trained: Weights, fixed: Weights, x: Any, y: Any) -> Any:
        logits, activity, mlp_out = jax.vmap(lambda one: _run(config, trained, fixed, one))(x)
        if y.ndim == 1:
            logits = logits[:, -1]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], axis=-1)
        # mean over time and memory, then the square's mean over batch and neurons
        magnitude = jnp.square(jnp.abs(mlp_out).mean((1, 3))).mean()
        return -chosen.mean() + 0.01 * magnitude + 0.2 * activity.mean()

    return loss


def training_step(network: ElmNetwork, x: Tensor, y: Tensor) -> Callable[[], object]:
    """Return the action of one training step: forward and backward pass, clipping to norm 1, Adam at 5e-4."""
    trained, fixed = weights_of(network)
    gradient, arrays = jax.value_and_grad(loss_function(network.config)), (_array(x), _array(y))
    decay, decay_squares, least = _ADAM

    def step(trained: Weights, moments: tuple[Weights, Weights], count: Any, x: Any, y: Any) -> Any:
        value, grads = gradient(trained, fixed, x, y)
        norm = jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(grads)))
        grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / (norm + 1e-6)), grads)
        first = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, moments[0], grads)
        second = jax.tree.map(lambda v, g: decay_squares * v + (1 - decay_squares) * g * g, moments[1], grads)

        def moved(weight: Any, m: Any, v: Any) -> Any:
            root = jnp.sqrt(v / (1 - decay_squares**count)) + least
            return weight - 5e-4 * m / (1 - decay**count) / root

        return value, jax.tree.map(moved, trained, first, second), (first, second)

    zero = jax.tree.map(jnp.zeros_like, trained)
    compiled, moments, count = jax.jit(step), (zero, zero), 0

    def action() -> None:
        nonlocal trained, moments, count
        count += 1
        value, trained, moments = compiled(trained, moments, jnp.float32(count), *arrays)
        jax.block_until_ready((value, trained))  # calls return before their work is done

    return action


def _run(config: ElmConfig, trained: Weights, fixed: Weights, x: Any) -> tuple[Any, Any, Any]:
    """Logits [T, O], activity [T, N] and MLP outputs [T, N, D] of one sequence."""
    dtype = trained["output"]["weight"].dtype
    if x.ndim == 1:
        x = jax.nn.one_hot(x, config.n_in, dtype=dtype) * config.embedding_scale
    n_out, readout_d_m = trained["readout"]["readout"].shape

    def step(state: tuple[Any, ...], x_I: Any) -> tuple[tuple[Any, ...], tuple[Any, Any, Any]]:
        activity, hidden, readout = state
        hidden, z, mlp_out = _layer(config, trained["hidden"], fixed["hidden"], hidden, jnp.append(x_I, activity))
        activity = jax.nn.relu(z)
        readout, out, _ = _layer(config, trained["readout"], fixed["readout"], readout, activity, filtered=False)
        logits = trained["output"]["weight"] @ out + trained["output"]["bias"]
        return (activity, hidden, readout), (logits, activity, mlp_out)

    zeros = (
        jnp.zeros(config.n_rec, dtype),
        _zero_state(config.n_rec, config.d_m, config.d_tree, dtype),
        _zero_state(n_out, readout_d_m, config.d_tree, dtype),
    )
    _, (logits, activity, mlp_out) = jax.lax.scan(step, zeros, x)
    return logits, activity, mlp_out


def _layer(
    config: ElmConfig, trained: Weights, fixed: Weights, state: Any, u: Any, *, filtered: bool = True
) -> tuple[Any, Any, Any]:
    """One step of every neuron of a layer: state, output before the activation function, MLP output."""

    def neuron(own: Weights, constant: Weights, state: Any) -> tuple[Any, Any, Any]:
        memory, average, branch = state
        synapses = (own["synapse"] * u[constant["connectome"]]).reshape(config.d_tree, config.d_branch)
        sums = config.input_scale * synapses.sum(-1)
        if config.kappa_b is not None:
            branch = sums = config.kappa_b * branch + sums
        kept = constant["keep"] * memory
        hidden = jnp.concatenate([sums, kept])
        for weight, bias in own["mlp"][:-1]:
            hidden = jnp.square(jax.nn.relu(weight @ hidden + bias))
        weight, bias = own["mlp"][-1]
        mlp_out = weight @ hidden + bias
        memory = kept + constant["absorb"] * TANH_SCALE * jnp.tanh(TANH_SLOPE * mlp_out)
        y = own["readout"] @ memory
        if filtered and config.kappa_r is not None:
            average = config.kappa_r * average + (1 - config.kappa_r) * y
            y = y - average
        return (memory, average, branch), y + own["bias"], mlp_out

    return jax.vmap(neuron)(trained, fixed, state)  # type: ignore[no-any-return]  # JAX's own types are not looked at


def _zero_state(neurons: int, d_m: int, d_tree: int, dtype: Any) -> tuple[Any, Any, Any]:
    return jnp.zeros((neurons, d_m), dtype), jnp.zeros(neurons, dtype), jnp.zeros((neurons, d_tree), dtype)


def _trained(layer: ElmLayer) -> Weights:
    tensors = [_array(tensor) for tensor in layer.mlp_tensors()]
    return {
        "synapse": _array(layer.synapse_weight),
        "mlp": list(zip(tensors[::2], tensors[1::2], strict=True)),
        "readout": _array(layer.readout_weight),
        "bias": _array(layer.bias),
    }


def _fixed(layer: ElmLayer) -> Weights:
    rates = layer.rates()
    return {
        "connectome": _array(layer.connectome),
        "keep": _array(rates.keep_ND),
        "absorb": _array(rates.absorb_ND),
    }


def _array(tensor: Tensor) -> Any:
    return jnp.asarray(tensor.detach().numpy())
