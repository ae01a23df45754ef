"""What the broker's actor asks Ray about nodes. Apart from the orchestrator, which would load Tune and torch there."""

import ray


def is_lost(node: str) -> bool:
    """Whether Ray has given up a node, by its id."""
    return any(known["NodeID"] == node and not known["Alive"] for known in ray.nodes())
