"""Runs asynchronous rewards in an event loop in a thread of its own."""

import asyncio
import weakref
from collections.abc import Awaitable
from threading import Thread
from typing import Any


class BackgroundLoop:
    """Runs coroutines to their end, even if an event loop runs already (in a notebook).

    All calls share one loop, because a client with open connections is bound to the loop of its
    first use. The loop ends with this object.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        Thread(target=_serve, args=(self._loop,), daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def run(self, answer: Awaitable[Any]) -> Any:
        """Awaits the answer and returns it, or raises its exception."""
        future = asyncio.run_coroutine_threadsafe(contained(answer), self._loop)
        try:
            return future.result()
        except BaseException:  # the wait was interrupted, so nobody needs the answer any more
            future.cancel()
            raise


async def contained(answer: Awaitable[Any]) -> Any:
    """Awaits the answer. Exceptions that would end the loop become a RuntimeError.

    Raises:
        RuntimeError: the awaited code exits, cancels or interrupts itself.
    """
    try:
        return await answer
    except (SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
        raise RuntimeError(f"{type(error).__name__} in an asynchronous reward") from error


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
