"""Rewards that fail and are survived, and rewards that judge nothing: said once, then counted."""

from collections import Counter
from collections.abc import Callable, Sequence

from seqgan.data.sequences import Trajectories
from seqgan.rewards.base import RewardError


class RewardFailures:
    """Keeps watch over the rewards of one run.

    Args:
        tell: passes a message on to whoever watches the run.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.tell = tell
        self._mentioned: set[str] = set()  # rewards whose trouble was mentioned
        self._changes: set[str] = set()  # lines that were told
        self._count: Counter[str] = Counter()  # failures since the last `restart`

    def restart(self) -> None:
        """Counts from here on."""
        self._count.clear()

    def skipped(self, error: RewardError) -> None:
        """Counts a failure that was survived, and mentions a reward's first one."""
        if error.name not in self._mentioned:
            self._mentioned.add(error.name)
            self.tell(f"{error}; it does not count there, nor where it fails again")
        self._count[error.name] += 1

    def changed(self, line: str) -> None:
        """Tells, once, that code of the user's own changed what the whole process shares."""
        if line not in self._changes:
            self._changes.add(line)
            self.tell(line)

    def check(self, trajectories: Trajectories, names: Sequence[str]) -> None:
        """Mentions, once, a reward that applies to none of these texts.

        Raises:
            RewardError: a reward failed on each of them.
        """
        count = len(trajectories.returns)
        for name, failed in self._count.items():
            if failed >= count:
                raise RewardError(name, f"it failed on all {count} texts of an iteration")
        for name in names:
            if name not in self._mentioned and bool(trajectories.part(name).isnan().all()):
                self._mentioned.add(name)
                self.tell(
                    f"reward {name!r} applies to none of {count} texts (it gives None or NaN), and"
                    " teaches nothing there"
                )
