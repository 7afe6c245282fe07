"""Verdicts of a campaign, and the table of them."""

import time
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """One attempt.

    Args:
        fault: the promise that did not hold; empty where all did.
        harmless: the reason why damage needs no finding; empty where it was found.
    """

    kind: str
    name: str
    fault: str = ""
    harmless: str = ""


@dataclass
class Line:
    """The attempts of one kind."""

    given: int = 0
    failed: int = 0
    seconds: float = 0.0


class Table:
    """Counts verdicts, and says each fault at once."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.harmless: dict[str, int] = {}

    def take(self, verdicts: Iterable[Verdict]) -> None:
        before = time.monotonic()
        for verdict in verdicts:
            line = self.lines.setdefault(verdict.kind, Line())
            line.given += 1
            now = time.monotonic()
            line.seconds, before = line.seconds + now - before, now
            if verdict.fault:
                line.failed += 1
                print(f"FAILED  {verdict.kind}: {verdict.name}: {verdict.fault}", flush=True)
            elif verdict.harmless:
                self.harmless[verdict.harmless] = self.harmless.get(verdict.harmless, 0) + 1

    @property
    def failed(self) -> int:
        return sum(line.failed for line in self.lines.values())

    def rows(self) -> list[str]:
        """The table, with a line for each kind, and one for all."""
        total = Line(
            sum(line.given for line in self.lines.values()),
            self.failed,
            sum(line.seconds for line in self.lines.values()),
        )
        rows = [f"{'kind':<28}{'given':>7}{'held':>7}{'failed':>8}{'seconds':>9}"]
        for kind, line in {**self.lines, "all": total}.items():
            held = line.given - line.failed
            rows.append(f"{kind:<28}{line.given:>7}{held:>7}{line.failed:>8}{line.seconds:>9.0f}")
        rows += [f"harmless, {number}: {why}" for why, number in self.harmless.items()]
        return rows
