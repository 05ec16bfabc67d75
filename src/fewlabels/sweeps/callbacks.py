"""Hydra callbacks that keep the pages about a sweep up to date.

Hydra makes them for every command, also for `--help`: modules that take time to import wait until a page is written.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from fewlabels.core.errors import UserError

log = logging.getLogger(__name__)


class SweepCallback(Callback):
    """Hydra callback that writes a page about a sweep whenever a job ends. A subclass sets `page` and writes it."""

    page = ""

    def write(self, sweep: Path) -> bool:
        """Write the page into the sweep's directory; returns whether there was anything to write."""
        raise NotImplementedError

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        """Write the page."""
        self._write(config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the page and print its path."""
        if self._write(config):
            print(Path(config.hydra.sweep.dir) / self.page)  # noqa: T201 - the last line of every script

    def _write(self, config: DictConfig) -> bool:
        if config.hydra.mode != RunMode.MULTIRUN:
            return False
        try:
            return self.write(Path(config.hydra.sweep.dir))
        except UserError as error:
            log.error("%s", error)  # noqa: TRY400 - a user's mistake needs no traceback
        except Exception:  # a summary must not end a sweep
            log.exception("The summary of the sweep could not be written.")
        return False


class SweepSummary(SweepCallback):
    """Keep sweep.csv, figures and sweep.html up to date.

    Args:
        metric: Of results.json, that jobs are compared by, higher is better; of validation data, since settings are
            chosen by it. Of several, the first that a finished job has.
    """

    page = "sweep.html"

    def __init__(self, metric: str | Sequence[str]) -> None:
        self.metrics = [metric] if isinstance(metric, str) else list(metric)

    def write(self, sweep: Path) -> bool:
        """Write sweep.csv, figures and sweep.html."""
        from fewlabels.sweeps.summary import write_summary

        return write_summary(sweep, *self.metrics)


class InitComparisonReport(SweepCallback):
    """Keep init_comparison.csv, figures and report.html of a sweep over `checkpoint` up to date."""

    page = "report.html"

    def write(self, sweep: Path) -> bool:
        """Compare the finished jobs; writes nothing unless `checkpoint` or `backbone.weights` is swept."""
        from fewlabels.sweeps.init_comparison import write_comparison

        return write_comparison(sweep)
