"""What the broker's actor asks Ray about nodes. Apart from the orchestrator, which would load Tune and torch there."""

import ray


def is_lost(node: str) -> bool:
    """Whether Ray has given up a node, by its id."""
    # Ray goes on listing nodes that it has given up. One that is not listed at all was never seen, and is not lost.
    return any(known["NodeID"] == node and not known["Alive"] for known in ray.nodes())
