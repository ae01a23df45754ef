"""The products that may be taken in bfloat16: large, outside the recurrence, and summed into float32."""

import torch
from torch import Tensor


def large_product(start: Tensor, left: Tensor, right: Tensor, autocast: bool) -> Tensor:
    """Add a batch of matrix products to something.

    Args:
        start: what is added to, of a shape that broadcasts to the result's; keeps its precision.
        left: [K, M, N].
        right: [K, N, O].
        autocast: whether torch.autocast takes the product in bfloat16. Its weight cache is off: nothing is used twice,
            and a CUDA graph must not hold what was cast outside of it.

    Returns:
        [K, M, O].
    """
    if not autocast:
        return torch.baddbmm(start, left, right)
    with torch.autocast(left.device.type, torch.bfloat16, cache_enabled=False):
        product = torch.bmm(left, right)
    return start + product
