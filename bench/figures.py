"""Figures: what a step took beside its baseline, as medians, ranges and a ratio; as a table and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from pydantic import JsonValue
from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Sample:
    """Repeated measurements of one step, in the unit of their figure."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The value that stands for the sample."""
        return median(self.values)

    def wire(self) -> dict[str, JsonValue]:
        """As JSON."""
        return {
            "median": round(self.median, 3),
            "min": round(min(self.values), 3),
            "max": round(max(self.values), 3),
            "n": len(self.values),
        }

    def text(self) -> str:
        """Median and range."""
        low, middle, high = (_ms(value) for value in (min(self.values), self.median, max(self.values)))
        return f"{middle} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Figure:
    """A step, in a session of `turns` turns if that matters, and the baseline that it is compared with.

    Both are in `unit`, `ms`, `KiB` or `MiB`.
    """

    step: str
    turns: int | None
    agent: Sample
    baseline_step: str
    baseline: Sample
    unit: str = "ms"

    @property
    def ratio(self) -> float:
        """How many times the baseline's median the agent's is."""
        return self.agent.median / self.baseline.median

    def wire(self) -> dict[str, JsonValue]:
        """As JSON."""
        return {
            "step": self.step,
            "turns": self.turns,
            "unit": self.unit,
            "agent": self.agent.wire(),
            "baseline_step": self.baseline_step,
            "baseline": self.baseline.wire(),
            "ratio": round(self.ratio, 3),
        }


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader must know of where the figures are from. No names and no paths."""

    date: str
    system: str
    cores: int
    load_before: float
    load_after: float
    python: str
    sdk: str
    agent: str

    @classmethod
    def here(cls, load_before: float) -> Machine:
        """The machine that runs this, now; loads are averages over a minute."""
        return cls(
            date=datetime.now(UTC).date().isoformat(),
            system=f"{platform.system()} {platform.machine()}",
            cores=os.cpu_count() or 1,
            load_before=round(load_before, 2),
            load_after=round(os.getloadavg()[0], 2),
            python=platform.python_version(),
            sdk=version("google-antigravity"),
            agent=version("antigravity-acp-agent"),
        )

    def wire(self) -> dict[str, JsonValue]:
        """As JSON."""
        return asdict(self)

    def text(self) -> str:
        """In one line."""
        return (
            f"{self.date}, {self.system}, {self.cores} cores, load {self.load_before} before and {self.load_after}"
            f" after, Python {self.python}, SDK {self.sdk}, agent {self.agent}"
        )


def as_json(machine: Machine, figures: Iterable[Figure]) -> dict[str, JsonValue]:
    """Everything."""
    return {"machine": machine.wire(), "figures": [figure.wire() for figure in figures]}


def print_table(console: Console, machine: Machine, figures: Sequence[Figure]) -> None:
    """One row a figure, each value as median (lowest to highest)."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("step")
    table.add_column("turns", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("agent", justify="right", no_wrap=True)
    table.add_column("baseline")
    table.add_column("of the baseline", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(
            figure.step,
            f"{figure.turns:,}" if figure.turns is not None else "",
            figure.unit,
            figure.agent.text(),
            figure.baseline_step,
            figure.baseline.text(),
            f"{figure.ratio:.2f}",
        )
    console.print(table)
    console.print(f"Median (lowest to highest). {machine.text()}.", soft_wrap=True)


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
