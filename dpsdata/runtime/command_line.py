"""Runs a typer app: one clear sentence for every expected failure, exit codes that mean something."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import typer

from dpsdata.contracts import DpsError, ExitCode

DEBUG_FLAG = "--debug"


def describe_room(app: typer.Typer, version: str, words: str) -> None:
    """Give a room's app its line of help and `--version`."""

    def say_version(wanted: bool) -> None:
        if wanted:
            typer.echo(version)
            raise typer.Exit

    option = typer.Option(False, "--version", help="Print the version.", callback=say_version, is_eager=True)

    def room(version: bool = option) -> None:
        pass

    app.callback(help=f"{words} Any command takes {DEBUG_FLAG}.")(room)


def run_app(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code.

    A `DpsError` becomes its sentence on stderr and its exit code; any other failure becomes one sentence
    too. `--debug`, anywhere in the arguments, shows the traceback as well.

    Args:
        app: the room's commands.
        arguments: without the program name; None for those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG_FLAG in words
    words = [word for word in words if word != DEBUG_FLAG]
    try:
        returned: Any = app(args=words, standalone_mode=False)
        code = int(returned or ExitCode.DONE)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _explain(error)
    if code == ExitCode.INTERRUPTED:
        _say("interrupted; run the same command again to go on")
    return code


def _explain(error: Exception) -> int:
    show = getattr(error, "show", None)
    if callable(show) and hasattr(error, "exit_code"):  # typer's own usage errors
        show()
        return ExitCode.USAGE
    if isinstance(error, DpsError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, BrokenPipeError):  # `dpsdata stats OUT | head`
        return ExitCode.DONE
    if isinstance(error, OSError) and error.strerror:
        where = f"{str(error.filename)[:200]}: " if error.filename else ""
        _say(f"{where}{error.strerror}; free space, choose another path or change its permissions, then run it again")
        return ExitCode.ENVIRONMENT
    if isinstance(error, MemoryError):
        _say("out of memory; run it again with fewer --workers or a smaller --size")
        return ExitCode.ENVIRONMENT
    _say(f"unexpected {type(error).__name__}: {error}; run it again with {DEBUG_FLAG} and report the traceback")
    return ExitCode.ENVIRONMENT


def _say(sentence: str) -> None:
    typer.echo(f"error: {sentence}", err=True)


def run_and_exit(app: typer.Typer, arguments: list[str] | None = None) -> None:
    """Entry point of a console script, see `run_app`."""
    code = run_app(app, arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
    sys.exit(code)
