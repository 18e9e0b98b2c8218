"""Kills a build twenty times at random moments, resumes it, and compares it with an uninterrupted one.

Run: python tests/benchmarks/kill_resume.py [--kills 20] [--format files|webdataset] [--engine local|ray] [--roots]
With --roots also: the root hash by 1, 2 and 3 local workers, by two Ray actors, and by Ray after the SIGKILL of an
actor and of the driver.
Writes reports/benchmarks/kill_resume.json, or kill_resume_FORMAT_ENGINE.json for others than files by the local engine.
Exit 4 when a byte differs, a file is lost, or a root hash is another.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dpsdata.contracts import BrokenImageError, MissingError
from dpsdata.dataset.manifest import read_dataset
from dpsdata.dataset.shards import list_members
from dpsdata.dataset.verify import verify_dataset
from dpsdata.images.codec import read_photo
from dpsdata.runtime.device import keyed_generator
from dpsdata.samples import write_sample_faces

REPORT = Path(__file__).resolve().parents[2] / "reports" / "benchmarks" / "kill_resume.json"


def final_files(folder: Path) -> list[Path]:
    """Pictures, or shards, under a final name."""
    return [
        path
        for path in folder.rglob("*")
        if path.suffix in (".png", ".tar") and not path.name.startswith(".") and ".build" not in path.parts
    ]


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a final name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in final_files(folder)
    }


def count(folder: Path) -> int:
    """Number of files under a final name."""
    return len(final_files(folder))


def build_command(source: Path, out: Path, workers: int, form: str, engine: str) -> list[str]:
    """The same build by one worker, or by two."""
    words = ["build", str(source), str(out), "--workers", str(workers), "--edges", "hed-compact"]
    return [
        sys.executable,
        "-c",
        "from dpsdata.cli import main; main()",
        *words,
        "--levels",
        "0,0.5,1",
        "--format",
        form,
        "--shard-size",
        "4",
        "--engine",
        engine,
    ]


def kill_once(command: list[str], seconds: float, out: Path) -> bool:
    """Start the build, kill its process at a random moment after the first write; False when it was done before."""
    before = count(out)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and count(out) <= before:
        time.sleep(0.005)
    time.sleep(seconds)
    if process.poll() is not None:
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.5)  # the workers notice and end
    return True


def actors(session: int) -> list[int]:
    """Processes of Ray actors that descend from a process, none of anybody else."""
    parents: dict[int, int] = {}
    names: dict[int, bytes] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(path.name)] = (path / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue

    def descends(pid: int) -> bool:
        while pid in parents and pid != session:
            pid = parents[pid]
        return pid == session

    return [pid for pid, name in names.items() if name.startswith(b"ray::_Actor") and descends(pid)]


def compare_roots(source: Path, place: Path, form: str) -> dict[str, str]:
    """Root hashes of the same build by other workers and engines, and after kills under Ray."""
    roots = {}
    for name, workers, engine, victim in (
        ("local_1", 1, "local", ""), ("local_2", 2, "local", ""), ("local_3", 3, "local", ""), ("ray_2", 2, "ray", ""),
        ("ray_2_actor_killed", 2, "ray", "actor"), ("ray_2_driver_killed", 2, "ray", "driver"),
    ):  # fmt: skip
        out = place / name
        command = build_command(source, out, workers, form, engine)
        if victim:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and count(out) < 4:
                time.sleep(0.01)
            victims = [process.pid] if victim == "driver" else actors(process.pid)[:1]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            if not victims or process.wait() != (0 if victim == "actor" else -signal.SIGKILL):
                raise SystemExit(f"{name}: no {victim} could be killed before the end")
        if victim != "actor":
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        roots[name] = read_dataset(out)["root_hash"]
        print(f"{name}: {roots[name]}", flush=True)
        shutil.rmtree(out)
    return roots


def main() -> int:
    """Run the check and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--faces", type=int, default=120)
    parser.add_argument("--format", default="files")
    parser.add_argument("--engine", default="local")
    parser.add_argument("--roots", action="store_true")
    options = parser.parse_args()
    how = (options.format, options.engine)
    generator = keyed_generator(0, "", "kill-times")
    with tempfile.TemporaryDirectory() as folder:
        source, whole, out = (Path(folder, name) for name in ("faces", "whole", "killed"))
        write_sample_faces(source, options.faces, seed=0)
        subprocess.run(build_command(source, whole, 2, options.format, "local"), check=True, stdout=subprocess.DEVNULL)
        killed, broken, changed, done_before = 0, 0, 0, []
        for number in range(options.kills):
            kept = hashes(out) if out.exists() else {}
            done_before.append(len(kept))
            command = build_command(source, out, 1 + number % 2, *how)
            killed += kill_once(command, float(generator.uniform(0, 0.2)), out)
            after = hashes(out)
            for path in after.keys() - kept.keys():
                try:
                    for part in [out / path] if path.endswith(".png") else list_members(out / path):
                        if path.endswith(".png") or part.name.endswith(".png"):
                            read_photo(part)
                except (BrokenImageError, MissingError):
                    broken += 1
            changed += sum(after.get(path) != digest for path, digest in kept.items())
        subprocess.run(build_command(source, out, 2, *how), check=True, stdout=subprocess.DEVNULL)
        wanted, found = hashes(whole), hashes(out)
        report = {
            "kills": killed,
            "format": options.format,
            "engine": options.engine,
            "files": len(wanted),
            "files_before_each_kill": done_before,
            "half_files_under_a_final_name": broken,
            "files_changed_or_lost_by_a_kill": changed,
            "files_that_differ_at_the_end": sum(found.get(path) != digest for path, digest in wanted.items())
            + len(found.keys() - wanted.keys()),
            "same_root_hash": read_dataset(out)["root_hash"] == read_dataset(whole)["root_hash"],
            "findings_of_verify": len(verify_dataset(out).findings),
            "temporary_files_left": len(list(out.rglob(".dps-*.tmp"))),
        }
        print(json.dumps(report, indent=2), flush=True)
        if options.roots:
            report["root_hashes"] = compare_roots(source, Path(folder), options.format)
            report["same_root_hash"] &= set(report["root_hashes"].values()) == {read_dataset(whole)["root_hash"]}
    is_usual = how == ("files", "local")
    place = REPORT if is_usual else REPORT.with_stem(f"kill_resume_{options.format}_{options.engine}")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    bad = broken + changed + report["files_that_differ_at_the_end"] + report["findings_of_verify"]
    return 0 if killed == options.kills and bad == 0 and report["same_root_hash"] else 4


if __name__ == "__main__":
    sys.exit(main())
