"""The pause that a server asks for when it refuses a call: HTTP's Retry-After."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any


def asked_pause(error: BaseException | None) -> float:
    """Seconds that a failure asks to wait before the next call; 0 where it asks for nothing.

    An exception asks by a number in `retry_after`, or by the header Retry-After (seconds, or a
    date) in its own `headers`, as urllib's `HTTPError` has them, or in those of its `response`, as
    the exceptions of requests, httpx and openai do. Causes of the exception are asked too.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        response = getattr(error, "response", None)
        for value in (
            getattr(error, "retry_after", None),
            _header(getattr(error, "headers", None)),
            _header(getattr(response, "headers", None)),
        ):
            if (seconds := _seconds(value)) > 0:
                return seconds
        error = error.__cause__ or error.__context__
    return 0.0


def _header(headers: Any) -> Any:
    if isinstance(headers, Mapping) or hasattr(headers, "get"):
        return headers.get("Retry-After") or headers.get("retry-after")
    return None


def _seconds(value: Any) -> float:
    """Seconds of a number, of a text with one, or until a date; 0 for anything else."""
    if isinstance(value, int | float):
        return float(value) if value > 0 else 0.0  # NaN is not above 0
    if not isinstance(value, str):
        return 0.0
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0
