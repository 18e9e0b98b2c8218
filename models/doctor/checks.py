"""`dps doctor`: everything that must be right before a photo is edited, looked at without changing anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dpsdata import __version__
from dpsdata.contracts import ExitCode
from dpsdata.runtime.arguments import typed_path
from dpsdata.weights import WeightStatus, verify_weights
from dpsdata.weights.store import home_folder
from models.doctor import machine as doctor_machine
from models.doctor.data import UNKNOWN, DataFound, check_data
from models.doctor.findings import Finding, run_check
from models.doctor.weights import TaskState, check_files, check_tasks, list_tasks

SCHEMA_VERSION = 1
_DISK = "export DPS_HOME=FOLDER_THAT_CAN_BE_WRITTEN"


@dataclass(frozen=True)
class Diagnosis:
    """All that was found.

    Attributes:
        findings: in the order of the checks.
        weights: every file of weights.
        tasks: what can run.
        data: what the named folder holds; None where none was named.
    """

    findings: tuple[Finding, ...]
    weights: tuple[WeightStatus, ...]
    tasks: tuple[TaskState, ...]
    data: DataFound | None

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that stop work."""
        return tuple(finding for finding in self.findings if finding.state == "problem")

    @property
    def exit_code(self) -> ExitCode:
        """5 where something stops work, else 0."""
        return ExitCode.MISSING if self.problems else ExitCode.DONE


def diagnose(data: Path | None = None) -> Diagnosis:
    """Look at Python, torch, device, threads, disk, weights, and at a folder of data.

    Args:
        data: folder or zip of photos, a built folder, or a folder of outputs.
    """
    findings = [doctor_machine.check_python(), doctor_machine.check_torch(), doctor_machine.check_libraries()]
    findings += [doctor_machine.check_device(), doctor_machine.check_threads(), doctor_machine.check_ray()]
    findings += run_check("disk", _DISK, lambda: doctor_machine.check_disks(home_folder()))
    weights: list[WeightStatus] = []
    tasks: list[TaskState] = []

    def look_at_weights() -> Iterator[Finding]:
        weights.extend(verify_weights())
        yield from check_files(weights)

    def look_at_tasks() -> Iterator[Finding]:
        tasks.extend(list_tasks(weights))
        yield from check_tasks(tasks)

    findings += run_check("weights", "dps weights list", look_at_weights)
    findings += run_check("edit", "dps weights list", look_at_tasks)
    found: list[DataFound] = []
    if data is not None:
        place = data

        def look_at_data() -> list[Finding]:
            holds, about = check_data(typed_path(str(place)))
            found.append(holds)
            return about

        findings += run_check("data", "dps doctor --data FOLDER_OF_PHOTOS", look_at_data)
    seen = None if data is None else (found or [UNKNOWN])[0]
    return Diagnosis(tuple(findings), tuple(weights), tuple(tasks), seen)


def describe(diagnosis: Diagnosis) -> Iterator[str]:
    """Lines for a terminal: state, name, sentence, and below it the command that mends it."""
    for finding in diagnosis.findings:
        yield f"{finding.state:<8} {finding.name}: {finding.sentence}"
        if finding.command:
            yield f"         -> {finding.command}"


def to_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """What `--json` prints; keys are only ever added while `schema_version` stays the same."""
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "exit_code": int(diagnosis.exit_code),
        "findings": [asdict(finding) for finding in diagnosis.findings],
        "weights": [
            {
                "name": status.name,
                "status": status.status,
                "path": str(status.path),
                "expected_sha256": status.expected_sha256,
                "actual_sha256": status.actual_sha256,
                "verified": status.verified,
            }
            for status in diagnosis.weights
        ],
        "tasks": [asdict(task) for task in diagnosis.tasks],
        "data": None if diagnosis.data is None else asdict(diagnosis.data),
    }
