"""Floating-point operations of any architecture, from its configuration. Standard library only.

Counted are the multiplications and additions of weighted sums (two for each weight and use); element-wise work is not.
One-hot and sparse inputs count as dense, so that architectures are compared on the same footing. For architectures
without a formula every trained parameter counts as one weight that is used once in each step.
"""

from model.architecture import Flops
from model.config import ModelConfig
from model.registry import architecture_of


def flops(config: ModelConfig) -> Flops:
    """Count the operations of one time step of one sequence.

    Raises:
        ConfigError: the configuration is of no known architecture.
    """
    return architecture_of(config).flops(config)
