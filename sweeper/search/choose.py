"""The search that a grid asks for."""

from sweeper.errors import GridError
from sweeper.plan.search_section import SearchSettings
from sweeper.search.plain import GridSearcher, RandomSearcher
from sweeper.search.space import Searcher, Space
from sweeper.search.theory import make_theory_searcher


def make_searcher(settings: SearchSettings, space: Space) -> Searcher:
    """The search that a grid asks for.

    Raises:
        GridError: the space does not suit the search.
    """
    if settings.kind == "random":
        return RandomSearcher(space=space, seed=settings.seed)
    if settings.kind == "optuna":
        from sweeper.search.optuna import OptunaSearcher  # Optuna is an extra; the other searches do without

        return OptunaSearcher(space=space, settings=settings)
    if settings.kind == "theory":
        return make_theory_searcher(space, settings)
    if settings.kind == "grid":
        return GridSearcher(space=space)
    raise GridError(f"search.kind: {settings.kind!r} is not known")
