"""What happens after an attempt, by class of failure. Counters only; the broker acts on the verdict.

==============  ==========================================================================================
finished        the trial ends
diverged        the trial ends: the same seed would diverge again
timed_out       the trial ends
pruned          the trial ends: a search saw that others do better
out_of_memory   once more, alone on its host with the memory of all lanes; then the trial ends
failed (a bug)  once more; then the trial ends. Two replicates that end so quarantine the configuration
lost            its lane died: again, up to three times, since the trial may be what kills it; then given up
preempted       again, as often as it takes: the trial did nothing wrong
split           the trials it was trained in one go with failed as a whole: again, by itself; uses up nothing
==============  ==========================================================================================
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from sweeper.store.schema import FAILED, LOST, OUT_OF_MEMORY, PREEMPTED

END, AGAIN, AGAIN_ALONE, GIVE_UP = "end", "again", "again alone", "give up"
AGAIN_SINGLE = "again by itself"
SPLIT = "split"
"""What a lane reports of trials that failed in one go, so that none of them can be blamed; never stored."""

MAX_BUG_TRIES = 2
"""Attempts of a trial that raises; a second try tells a passing fault from a bug."""
MAX_MEMORY_TRIES = 2
"""Attempts of a trial that runs out of memory, the last of them alone."""
MAX_LOSSES = 3
"""Lane deaths after which the trial itself is suspected."""
QUARANTINE_AFTER = 2
"""Replicates of a configuration that end in a bug before the rest is not run."""
POISON_LEAST = 10
"""Attempts that must have been made before a sweep can be stopped as a whole."""
POISON_SHARE = 0.8
"""Share of attempts with one and the same failure that stops the sweep."""


@dataclass(kw_only=True)
class FailurePolicy:
    """Counts failures, each class apart, and says what to do next."""

    bug_tries: Counter[str] = field(default_factory=Counter)
    """Attempts that raised, by trial."""
    memory_tries: Counter[str] = field(default_factory=Counter)
    """Attempts that ran out of memory, by trial."""
    losses: Counter[str] = field(default_factory=Counter)
    """Lane deaths, by trial."""
    preemptions: Counter[str] = field(default_factory=Counter)
    """Preemptions, by trial; they use up nothing."""
    bugs: Counter[str] = field(default_factory=Counter)
    """Trials that ended in a bug, by configuration."""
    attempts: int = 0
    """Attempts so far, preempted ones apart."""
    failures: Counter[str] = field(default_factory=Counter)
    """Attempts that failed, by kind."""

    def after(self, trial_id: str, configuration: str, status: str, reason: str) -> str:
        """The verdict after an attempt: `END`, `AGAIN`, `AGAIN_ALONE`, `AGAIN_SINGLE` or `GIVE_UP`."""
        if status == SPLIT:
            return AGAIN_SINGLE
        verdict = self._verdict(trial_id, status)
        # A lost node says nothing about the trials; counted, it would hide in the share below that all of them fail.
        self.attempts += status != PREEMPTED
        if status in (FAILED, OUT_OF_MEMORY, LOST):
            self.failures[f"{status}: {kind_of(reason)}"] += 1
        # Counted when the last try has failed, so that a passing fault quarantines nothing.
        if verdict == END and status == FAILED:
            self.bugs[configuration] += 1
        return verdict

    def has_failed(self, trial_id: str) -> bool:
        """Whether an attempt at a trial has left a row that says so."""
        # Lost and preempted attempts leave no row of the trial, and a lane that comes back with one needs no
        # correction.
        return trial_id in self.bug_tries or trial_id in self.memory_tries

    def is_quarantined(self, configuration: str) -> bool:
        """Whether no further replicate of a configuration is to be run."""
        return self.bugs[configuration] >= QUARANTINE_AFTER

    def poisoned(self) -> str | None:
        """Why the whole sweep is to stop, or None: most trials fail alike, so the next one will too."""
        # Among the first few attempts a high share may be chance.
        if self.attempts < POISON_LEAST or not self.failures:
            return None
        kind, count = self.failures.most_common(1)[0]
        if count < POISON_SHARE * self.attempts:
            return None
        return f"{count} of {self.attempts} attempts failed alike ({kind})"

    def _verdict(self, trial_id: str, status: str) -> str:
        # Each class has a counter of its own: a trial that was tried twice for want of memory has not used up the tries
        # that tell whether it kills its lane.
        if status == PREEMPTED:
            self.preemptions[trial_id] += 1
            return AGAIN
        if status == LOST:
            self.losses[trial_id] += 1
            return GIVE_UP if self.losses[trial_id] >= MAX_LOSSES else AGAIN
        if status == OUT_OF_MEMORY:
            self.memory_tries[trial_id] += 1
            return END if self.memory_tries[trial_id] >= MAX_MEMORY_TRIES else AGAIN_ALONE
        if status == FAILED:
            self.bug_tries[trial_id] += 1
            return END if self.bug_tries[trial_id] >= MAX_BUG_TRIES else AGAIN
        return END


def kind_of(reason: str) -> str:
    """A reason without its numbers, so that like failures count as one."""
    # Steps, losses and bytes differ from trial to trial, and with them no two reasons would be equal.
    return re.sub(r"[-+]?\d[\d.e+-]*", "#", reason)
