"""A clock that tests set, and time that passes while a broker is asked as often as its launcher asks it."""

from sweeper.queue.broker import Broker

_ASK_S = 2.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def run(self, broker: Broker, seconds: float) -> None:
        """Let time pass for a broker that is at work."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + _ASK_S)
            broker.snapshot()
