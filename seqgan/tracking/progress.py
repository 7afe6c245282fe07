"""The display of a run's progress: live bars in a terminal, now and then a line anywhere else.

Everything goes to standard error, so that standard output stays the run's result.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock, Timer
from types import TracebackType
from typing import Any, Protocol

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.progress import TimeRemainingColumn as Remaining
from rich.table import Column
from rich.text import Text

from seqgan.data.metrics import Metrics
from seqgan.system.errors import ConfigurationError
from seqgan.system.terminal import wrapped

SECONDS_UNTIL_SHOWN = 2.0  # of a wait, in live bars
SECONDS_BETWEEN_LOGGED = 30.0  # lines of a phase in a log


class Display(Protocol):
    """One way to show progress."""

    def start(self) -> None: ...

    def phase(self, name: str, total: int, completed: float | int) -> None: ...

    def update(self, completed: float | int, metrics: Metrics) -> None: ...

    def finish(self) -> None: ...

    def message(self, text: str) -> None: ...

    def waiting(self, what: str) -> AbstractContextManager[None]: ...

    def stop(self) -> None: ...


class Progress:
    """The progress of a run, one phase after another. A context manager.

    Args:
        console: where to write; by default standard error. An interactive terminal gets live
            bars, anything else plain lines.
        seconds_between_lines: the least time between two plain lines of a phase; its first and
            last updates are always shown. A wait is announced after as long.
        clock: seconds since some moment.
    """

    def __init__(
        self,
        console: Console | None = None,
        seconds_between_lines: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if console is None:
            console = Console(stderr=True, emoji=False)
            if console.is_interactive:
                console = Console(file=_Unhooked(sys.stderr), emoji=False)  # type: ignore[arg-type]
        self._clock = clock
        self._display: Display = (
            LiveDisplay(console, clock)
            if console.is_interactive
            else PlainDisplay(_lines_of(console), seconds_between_lines, clock)
        )
        self._log: PlainDisplay | None = None
        self._completed: float | int | None = None  # None before the first phase
        self._name, self._total = "", 0
        self._metrics: dict[str, float | int] = {}

    @property
    def is_live(self) -> bool:
        """True where bars are drawn again and again, of which a log makes nothing."""
        return isinstance(self._display, LiveDisplay)

    def log_to(self, write: Callable[[str], object]) -> None:
        """From here on `write` gets plain lines, too: every message, and now and then the state."""
        self._log = PlainDisplay(write, SECONDS_BETWEEN_LOGGED, self._clock)

    def __enter__(self) -> "Progress":
        self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._display.stop()

    def phase(self, name: str, total: int, completed: float | int = 0) -> None:
        """Begins a phase of `total` steps, of which a resumed run has `completed` behind it."""
        self._name, self._total, self._completed = name, total, completed
        self._metrics = {}
        self._display.phase(name, total, completed)
        if self._log is not None:
            self._log.phase(name, total, completed)

    def advance(self, steps: float | int = 1, metrics: Metrics | None = None) -> None:
        """Some steps of the phase are done. Metrics stay on show until they are given anew.

        Raises:
            ConfigurationError: no phase has begun.
        """
        if self._completed is None:
            raise ConfigurationError("no phase has begun, so none can advance")
        self._completed += steps
        self._metrics |= metrics or {}
        self._display.update(self._completed, self._metrics)
        if self._log is not None:
            self._log.update(self._completed, self._metrics)

    def finish(self, why_early: str = "") -> None:
        """Ends the phase, with a full bar however many of its steps were done.

        Args:
            why_early: said where steps are left over.
        """
        self._display.finish()
        if why_early and self._completed is not None and self._completed < self._total:
            place = f"{self._completed:g}/{self._total}"
            self.message(f"{self._name} stopped early at {place}: {why_early}")

    def message(self, text: str) -> None:
        """A line of its own above the live bars, broken between words where it is too long."""
        self._display.message(text)
        if self._log is not None:
            self._log.message(text)

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """A context in which something else is waited for; shown if it takes long.

        Live bars get a line below with the seconds so far. Plain lines say it once, and how long
        it took when it is over.
        """
        return self._display.waiting(what)


class _Unhooked:
    """A stream below the hook with which wandb sees what is printed.

    wandb gives the stream another `write`, and keeps what comes by. It would keep every picture of
    live bars, ten a second; they are no log.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        written: int = type(self._stream).write(self._stream, text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silent_progress() -> Progress:
    """For a process that leaves showing it to another."""
    return Progress(Console(quiet=True, force_interactive=False))


class LiveDisplay:
    """A bar for each phase, and a line with the current metrics below them."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._bars = _BarsWithMetrics(console, clock)
        self._task: TaskID | None = None  # None before the first phase

    def start(self) -> None:
        self._bars.start()

    def phase(self, name: str, total: int, completed: float | int) -> None:
        if self._task is not None:
            self._bars.stop_task(self._task)
        self._bars.metrics = {}
        self._task = self._bars.add_task(name, total=total)
        self._bars.update(self._task, completed=completed)

    def update(self, completed: float | int, metrics: Metrics) -> None:
        self._bars.metrics = metrics
        if self._task is not None:
            self._bars.update(self._task, completed=completed)

    def finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, total=self._bars.tasks[self._task].completed)
        self._bars.metrics = {}  # they tell of a phase under way

    def message(self, text: str) -> None:
        console = self._bars.console
        console.print(Text("\n".join(wrapped(text, console.width))), soft_wrap=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        wait = (what, self._bars.clock())
        self._bars.waits.append(wait)
        try:
            yield
        finally:
            self._bars.waits.remove(wait)

    def stop(self) -> None:
        self._bars.stop()


class PlainDisplay:
    """Lines such as `pretrain 12/40  nll_dev 2.31`: for log files and pipes.

    Args:
        write: gets each line.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        seconds_between_lines: float,
        clock: Callable[[], float],
    ) -> None:
        self._write = write
        self._seconds = seconds_between_lines
        self._clock = clock
        self._name = ""
        self._total = 0
        self._shown_at: float | None = None  # None until the phase has shown a line
        self._waiting = ""  # the latest update, if it has not been shown

    def start(self) -> None:
        """Nothing to prepare."""

    def phase(self, name: str, total: int, completed: float | int) -> None:
        self._show_waiting()
        self._name, self._total = name, total
        self._shown_at = None

    def update(self, completed: float | int, metrics: Metrics) -> None:
        shown = format_metrics(metrics)
        self._waiting = f"{self._name} {round(completed, 2):g}/{self._total}" + (
            f"  {shown}" if shown else ""
        )
        now = self._clock()
        due = self._shown_at is None or now - self._shown_at >= self._seconds
        if due or completed >= self._total:
            self._show_waiting()
            self._shown_at = now

    def finish(self) -> None:
        """Shows the last update, also that of a phase that ended early."""
        self._show_waiting()

    def message(self, text: str) -> None:
        self._write(text)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        began, lock, announced, over = self._clock(), Lock(), False, False

        def say() -> None:
            nonlocal announced
            with lock:
                if not over:
                    self.message(f"waiting for {what}")
                    announced = True

        timer = Timer(self._seconds, say)
        timer.daemon = True  # a wait that never ends holds up no exit
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with lock:
                over = True
            if announced:
                self.message(f"waited {self._clock() - began:.0f} s for {what}")

    def stop(self) -> None:
        """Shows the last update of a phase that ended early."""
        self._show_waiting()

    def _show_waiting(self) -> None:
        if self._waiting:
            self.message(self._waiting)
        self._waiting = ""


def _lines_of(console: Console) -> Callable[[str], object]:
    return lambda text: console.print(Text(text), soft_wrap=True)


class _BarsWithMetrics(Bars):
    """rich's bars, with the metrics on lines below: in a narrow terminal no column is left.

    What is waited for has a line of its own.
    """

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self.metrics: Metrics = {}
        self.clock = clock
        self.waits: list[tuple[str, float]] = []  # for what, and since when
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=_whole()),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=_whole()),
            _RateColumn(table_column=_whole()),
            Remaining(compact=True, elapsed_when_finished=True, table_column=_whole()),
            console=console,
            expand=True,
            redirect_stdout=False,
            speed_estimate_period=600.0,  # seconds; an iteration may take minutes
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        shown = (format_metrics({name: value}) for name, value in self.metrics.items())
        yield Columns([Text(text, style="dim") for text in shown], padding=(0, 3))
        for what, began in list(self.waits):  # a copy: rich draws from a thread of its own
            seconds = self.clock() - began
            if seconds >= SECONDS_UNTIL_SHOWN:
                yield Text(f"waiting for {what} ({seconds:.0f} s)", style="dim")


def _whole() -> Column:
    """A column that a narrow terminal does not break: the bar gets shorter."""
    return Column(no_wrap=True)


class _RateColumn(ProgressColumn):
    """Steps per second, or seconds per step when they are slow."""

    def render(self, task: Task) -> Text:
        return Text(format_rate(task.finished_speed or task.speed), style="progress.data.speed")


def format_metrics(metrics: Metrics) -> str:
    """`nll_dev 2.31  entropy 1.2`: names as they are, four significant digits."""
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def format_rate(steps_per_second: float | None) -> str:
    """`12.3/s`, or `4.0s each` below one step a second; empty while unknown."""
    if not steps_per_second:
        return ""
    if steps_per_second >= 1:
        return f"{steps_per_second:.1f}/s"
    return f"{1 / steps_per_second:.1f}s each"
