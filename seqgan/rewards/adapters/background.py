"""An event loop in a thread of its own, for rewards that are asynchronous."""

import asyncio
import weakref
from collections.abc import Awaitable, Coroutine
from threading import Thread
from typing import Any


class BackgroundLoop:
    """Runs coroutines to their end, also where an event loop runs already (a notebook).

    One loop for all calls: a client that keeps its connections is bound to the loop it was first
    used in. It ends with the object.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        Thread(target=_serve, args=(self._loop,), daemon=True).start()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine returns, or raises."""
        future = asyncio.run_coroutine_threadsafe(contained(coroutine), self._loop)
        try:
            return future.result()
        except BaseException:  # an interruption of the wait: nobody wants the answer any more
            future.cancel()
            raise


async def contained(answer: Awaitable[Any]) -> Any:
    """What is awaited; of its exceptions, those that would end the loop as a plain error.

    Raises:
        RuntimeError: it exits, is cancelled or interrupted by its own doing.
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
