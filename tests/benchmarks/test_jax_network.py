"""The JAX column of the benchmark computes what the reference computes."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

# In a process of its own: JAX warns of every fork after it was loaded, and other tests fork.
COMPARISON = """
import dataclasses, sys
import jax
jax.config.update("jax_enable_x64", True)
import torch
from benchmarks import jax_network
from benchmarks.model import Case, example_batch, loss_of
from model.config import ElmConfig
from model.network import build_network

spikes = sys.argv[1] == "spikes"
more = {"tau_r": 5.0, "tau_b": 3.0, "l_mlp": 2} if spikes else {"tau_r": None, "l_mlp": 0}
config = ElmConfig(n_in=7, n_out=7, n_rec=6, d_m=3, d_tree=3, d_branch=2, **more)
case = Case(config=config, batch=3, steps=9, spikes=spikes)
network = build_network(config, seed=0, dtype=torch.float64, backend="reference")
x, y = example_batch(case)
x = x.double() * 20 if spikes else x
loss = loss_of(network, x, y)
torch.autograd.backward(loss)
trained, fixed = jax_network.weights_of(network)
array = jax_network._array
value, grads = jax.value_and_grad(jax_network.loss_function(config))(trained, fixed, array(x), array(y))
errors = [abs(float(value) - float(loss))]
for part, layer in (("hidden", network.hidden), ("readout", network.readout)):
    found = grads[part]
    pairs = [(found["synapse"], layer.synapse_weight), (found["readout"], layer.readout_weight)]
    pairs += [(found["bias"], layer.bias)]
    pairs += zip([leaf for pair in found["mlp"] for leaf in pair], layer.mlp_tensors(), strict=True)
    errors += [float(abs(ours - theirs.grad.numpy()).max()) for ours, theirs in pairs]
errors.append(float(abs(grads["output"]["weight"] - network.output.weight.grad.numpy()).max()))
step = jax_network.training_step(network.float(), x.float() if spikes else x, y)
step(), step()
print(max(errors))
"""


@pytest.mark.slow  # most of it is compiling
@pytest.mark.skipif(find_spec("jax") is None, reason="no jax is installed")
@pytest.mark.parametrize("kind", ["text", "spikes"])
def test_loss_and_gradients_equal_the_reference(kind):
    done = subprocess.run(
        [sys.executable, "-c", COMPARISON, kind], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-12
