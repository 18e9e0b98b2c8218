"""The Ray engine: one cluster of two cores, on which every command gives what it gives without Ray."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dpsdata import BuildConfig, build_dataset
from dpsdata.contracts import EnvironmentFailure, MissingError
from dpsdata.dataset import stages
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.verify import verify_dataset
from dpsdata.engines import Job, open_engine

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'deep-plastic-surgery[ray]'")

# Workers import the jobs by name.
JOBS = str(Path(__file__).parent / "dpsdata" / "engines")
sys.path.insert(0, JOBS)
from engine_jobs import prepare_failing, prepare_fragile, prepare_nothing, prepare_square  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two cores that this process uses."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = JOBS  # of the workers, which inherit it
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        object_store_memory=200 * 2**20,
    )  # fmt: skip
    del os.environ["PYTHONPATH"]
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture
def config(faces: Path, tiny_hed: Path, tmp_path: Path) -> BuildConfig:
    return BuildConfig(source=faces, out=tmp_path / "built", size=64, edges=str(tiny_hed), workers=1, split="last-2")


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and ".build" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def actor_pids() -> list[int]:
    """Processes of actors on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_Actor"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_contract(cluster: str, tmp_path: Path) -> None:
    engine = open_engine("ray", 2)
    assert engine.workers == 2
    log = tmp_path / "log"
    job: Job[int, tuple[int, int]] = Job(prepare=partial(prepare_square, log), is_ordered=True)
    done = list(engine.run(job, range(30)))
    assert [square for square, _ in done] == [number * number for number in range(30)]
    assert len(log.read_text().split()) == len({pid for _, pid in done}) == 2
    with pytest.raises(MissingError, match=r"^task 3: no such thing$"):
        list(engine.run(Job(prepare=prepare_failing), range(10)))
    with pytest.raises(MissingError, match=r"^no weights here$"):
        list(engine.run(Job(prepare=prepare_nothing), range(10)))
    (tmp_path / "deaths").mkdir()
    fragile: Job[int, int] = Job(prepare=partial(prepare_fragile, tmp_path / "deaths", 1))
    assert sorted(engine.run(fragile, range(12))) == [number * number for number in range(12)]


def test_build_is_that_of_one_process_also_when_an_actor_is_killed(
    cluster: str, config: BuildConfig, tmp_path: Path
) -> None:
    build_dataset(config)
    wanted = files(config.out)
    killed: list[int] = []
    out = tmp_path / "ray"

    def kill_one() -> None:
        """An actor, once the first file is there."""
        deadline = time.monotonic() + 60
        while not list(out.glob("images/*.png")) and time.monotonic() < deadline:
            time.sleep(0.005)
        for pid in actor_pids()[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    build_dataset(replace(config, out=out, engine="ray", workers=2))
    killer.join()
    assert killed
    assert files(out) == wanted


def test_shards_survive_the_death_of_the_driver(cluster: str, config: BuildConfig, tmp_path: Path) -> None:
    sharded = replace(config, format="webdataset", shard_size=1)
    whole = build_dataset(sharded)
    out = tmp_path / "ray"
    command = [sys.executable, "-c", "from dpsdata.cli import main; main()", "build", str(config.source), str(out)]
    command += ["--size", "64", "--edges", config.edges, "--workers", "2", "--split", "last-2"]
    command += ["--format", "webdataset", "--shard-size", "1", "--engine", "ray", "--address", cluster]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not list(out.glob("shards/*.tar")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in out.glob("shards/*.tar"):
        assert path.read_bytes() == (sharded.out / "shards" / path.name).read_bytes()
    result = build_dataset(replace(sharded, out=out, engine="ray", workers=2))
    assert result.root_hash == whole.root_hash
    assert {name: data for name, data in files(out).items() if name != "dataset.json"} == {
        name: data for name, data in files(sharded.out).items() if name != "dataset.json"
    }
    assert read_dataset(out)["root_hash"] == whole.root_hash
    assert verify_dataset(out).findings == ()


def test_batches_of_hed_are_those_of_one_process(
    cluster: str, config: BuildConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "batch_size", lambda device: 4)
    wanted = build_dataset(config)
    result = build_dataset(replace(config, out=tmp_path / "ray", engine="ray", workers=2))
    assert (result.count, result.root_hash) == (6, wanted.root_hash)
    assert read_dataset(result.out)["stages"][1]["options"]["batch"] == 4


def test_a_cluster_without_a_gpu_is_told(cluster: str) -> None:
    with pytest.raises(EnvironmentFailure, match="the Ray cluster has no GPU; use --device cpu"):
        list(open_engine("ray", 1, cluster).run(Job(prepare=prepare_square, gpus=1), range(2)))


def test_predict_and_score_are_those_of_one_process(cluster: str, config: BuildConfig, tmp_path: Path) -> None:
    from dpseval import ScoreConfig, score
    from models.prediction.folder import FolderPrediction
    from models.prediction.settings import PredictConfig

    build_dataset(config)
    outputs = {}
    for engine in ("local", "ray"):
        out = tmp_path / engine
        wanted = PredictConfig(
            config.out, out, "dps", (0.0,), split="all", method="telea", batch_size=2, engine=engine, workers=2
        )
        counts = FolderPrediction(wanted).run()
        assert (counts.done_count, counts.failures) == (6, ())
        outputs[engine] = files(out)
    assert outputs["ray"] == outputs["local"]
    tables: list[Any] = []
    for engine in ("local", "ray"):
        scores = score(
            tmp_path / "ray", config.out, ScoreConfig(use_cache=False, device="cpu", engine=engine, workers=2)
        )
        tables.append(scores.per_image)
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379", "nonsense"])
def test_no_cluster_at_an_address(address: str) -> None:
    """Asked before Ray is, which ends the whole process where nobody answers."""
    ray.shutdown()
    with pytest.raises(EnvironmentFailure, match=f"engine: no Ray cluster at {address} .*; start one with `ray start"):
        open_engine("ray", 1, address)


def test_ray_that_does_not_start_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise Exception("The current node timed out during startup")  # as Ray does

    ray.shutdown()
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(EnvironmentFailure, match=r"engine: Ray did not start .*timed out.*; run it again when"):
        open_engine("ray", 1, None)
