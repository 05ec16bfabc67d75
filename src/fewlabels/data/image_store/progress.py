"""A progress bar for long steps."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress(title: str, total: int | None, delay: float = 1.0) -> Iterator[Advance]:
    """Yield a function to call with the number of units just completed.

    On a terminal a bar appears on standard error after `delay` seconds; elsewhere one line is logged.
    """
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(file=sys.stderr), disable=not sys.stderr.isatty(), transient=True)
    task = bar.add_task(title, total=total)
    if bar.disable:
        log.info("%s", title)
    start = time.monotonic()

    def advance(done: int) -> None:
        bar.advance(task, done)
        if time.monotonic() - start > delay and not bar.live.is_started:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
