"""A stream that says it is a terminal."""

import io


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal of no known width."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]
