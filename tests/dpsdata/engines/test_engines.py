"""The contract of engines, for this process and for a pool; `tests/test_ray.py` has the one of Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dpsdata.contracts import EnvironmentFailure, MissingError, UsageError
from dpsdata.engines import Engine, Job, open_engine

# Workers import the jobs by name, along the path of this process.
sys.path.insert(0, str(Path(__file__).parent))
from engine_jobs import prepare_failing, prepare_fragile, prepare_nothing, prepare_square


@pytest.fixture(params=[1, 2], ids=["serial", "pool"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return open_engine("local", request.param)


def test_every_task_is_done_once_by_workers_set_up_once(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = list(engine.run(Job(prepare=partial(prepare_square, log)), range(40)))
    assert sorted(square for square, _ in done) == [number * number for number in range(40)]
    workers = log.read_text().split()
    assert len(workers) == len(set(workers)) <= engine.workers
    assert {pid for _, pid in done} <= set(map(int, workers))
    assert (os.getpid() in map(int, workers)) == (engine.workers == 1)


def test_order_is_kept_where_asked_for(engine: Engine) -> None:
    job = Job(prepare=prepare_square, is_ordered=True, tasks_ahead=3)
    assert [square for square, _ in engine.run(job, range(20))] == [number * number for number in range(20)]


def test_tasks_are_taken_as_workers_become_free(engine: Engine) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    run = engine.run(Job(prepare=prepare_square, tasks_ahead=2), tasks())
    next(iter(run))
    assert len(taken) <= 2 * engine.workers + 1
    run.close()  # type: ignore[attr-defined]


def test_failures_of_tasks_and_of_the_set_up_are_told(engine: Engine) -> None:
    with pytest.raises(MissingError, match="task 3: no such thing"):
        list(engine.run(Job(prepare=prepare_failing), range(10)))
    with pytest.raises(MissingError, match="no weights here"):
        list(engine.run(Job(prepare=prepare_nothing), range(10)))


def test_tasks_of_a_killed_worker_are_done_by_others(tmp_path: Path) -> None:
    (tmp_path / "deaths").mkdir()
    job = Job(prepare=partial(prepare_fragile, tmp_path / "deaths", 2))
    done = list(open_engine("local", 2).run(job, range(12)))
    assert sorted(done) == [number * number for number in range(12)]
    assert len(list((tmp_path / "deaths").iterdir())) == 2


def test_a_task_that_always_kills_its_worker_ends_the_run(tmp_path: Path) -> None:
    job = Job(prepare=partial(prepare_fragile, tmp_path, 100))
    with pytest.raises(EnvironmentFailure, match="a worker process died"):
        list(open_engine("local", 2).run(job, range(12)))


def test_bad_engines_are_named() -> None:
    with pytest.raises(UsageError, match="local or ray, got 'spark'"):
        open_engine("spark", 1)
    with pytest.raises(UsageError, match="only --engine ray connects"):
        open_engine("local", 1, "auto")
