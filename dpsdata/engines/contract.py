"""One contract: run tasks with workers that are set up once, yield results as they finish, stop cleanly.

A task is idempotent: one whose worker was lost is given to another worker, and done again from its start. Nothing
here loads torch or Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from dpsdata.contracts import EnvironmentFailure, UsageError

ENGINES = ("local", "ray")
MAX_TRIES = 5

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Job(Generic[Task, Result]):
    """Work for an engine.

    Attributes:
        prepare: sets one worker up and returns the function that does one task. It goes to other processes by pickle,
            so it is a function of a module, or a `functools.partial` of one.
        is_ordered: whether results come in the order of the tasks; otherwise as they finish.
        tasks_ahead: tasks that are handed out or whose results wait, for each worker; few where results are large.
        gpus: that a worker on a cluster is given; one without sees none.
    """

    prepare: Callable[[], Callable[[Task], Result]]
    is_ordered: bool = False
    tasks_ahead: int = 4
    gpus: int = 0


class Engine(Protocol):
    """Runs jobs. `workers`: how many tasks are worked on at once."""

    workers: int

    def run(self, job: Job[Task, Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """The result of every task; tasks are taken from the iterable as workers become free.

        Raises:
            EnvironmentFailure: workers were lost again and again, or cannot be started.
            Exception: what a task raises ends the run and is raised here.
        """
        ...


class Crew(Protocol):
    """Workers of one run, as `schedule` drives them."""

    def submit(self, number: int, task: Any) -> None:
        """Hand a task out; `number` is its key."""

    def collect(self) -> tuple[list[tuple[int, Any]], list[int]]:
        """Wait until a task has ended: numbers and results of the finished, numbers of those whose worker was lost."""

    def close(self, is_done: bool) -> None:
        """End the workers; where not all is done, without waiting for the tasks that were not begun."""


def schedule(crew: Crew, tasks: Iterable[Any], limit: int, is_ordered: bool, advice: str) -> Iterator[Any]:
    """Drive a crew through all tasks.

    Args:
        crew: the workers.
        tasks: taken one at a time.
        limit: tasks that are handed out or whose results wait.
        is_ordered: see `Job`.
        advice: the end of the sentence when workers are lost again and again.

    Raises:
        EnvironmentFailure: one task was under way at the loss of `MAX_TRIES` workers.
    """
    numbered = enumerate(tasks)
    under_way: dict[int, Any] = {}
    losses: dict[int, int] = {}
    finished: dict[int, Any] = {}
    next_number, is_exhausted, is_done = 0, False, False
    try:
        while True:
            while not is_exhausted and len(under_way) + len(finished) < limit:
                try:
                    number, task = next(numbered)
                except StopIteration:
                    is_exhausted = True
                    break
                under_way[number] = task
                crew.submit(number, task)
            if not under_way:
                break
            done, lost = crew.collect()
            for number in lost:
                losses[number] = losses.get(number, 0) + 1
                if losses[number] >= MAX_TRIES:
                    raise EnvironmentFailure(f"a worker process died (out of memory, or killed); {advice}")
                crew.submit(number, under_way[number])
            for number, result in done:
                del under_way[number]
                losses.pop(number, None)
                if is_ordered:
                    finished[number] = result
                else:
                    yield result
            while next_number in finished:
                yield finished.pop(next_number)
                next_number += 1
        is_done = True
    finally:
        crew.close(is_done)


def check_engine(name: str, address: str | None) -> str:
    """Return the name of an engine; raise UsageError where there is none, or where it has no address."""
    if name not in ENGINES:
        raise UsageError(f"engine: expected {' or '.join(ENGINES)}, got {name!r}")
    if address is not None and name != "ray":
        raise UsageError(f"address: only --engine ray connects to a cluster, got {address!r} with --engine {name}")
    return name
