"""Runs a typer app: one clear sentence for every expected failure, exit codes that mean something."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import typer

from dpsdata.contracts import DpsError, ExitCode
from dpsdata.runtime import interrupts

DEBUG_FLAG = "--debug"
VERBOSE_FLAG = "-v"


class _State:
    is_verbose = False


def is_verbose() -> bool:
    """Whether the command line asked for details."""
    return _State.is_verbose


def echo_detail(line: str) -> None:
    """Print a line that only `-v` asks for."""
    if is_verbose():
        typer.echo(line)


def describe_room(app: typer.Typer, version: str, words: str) -> None:
    """Give a room's app its line of help and `--version`."""

    def say_version(wanted: bool) -> None:
        if wanted:
            typer.echo(version)
            raise typer.Exit

    option = typer.Option(False, "--version", help="Print the version.", callback=say_version, is_eager=True)

    def room(version: bool = option) -> None:
        pass

    names = {"help_option_names": ["-h", "--help"]}
    flags = f"Any command takes {VERBOSE_FLAG} (details) and {DEBUG_FLAG}."
    app.callback(help=f"{words} {flags}", context_settings=names)(room)


def run_app(app: typer.Typer, arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code.

    A `DpsError` becomes its sentence on stderr and its exit code; any other failure becomes one sentence
    too. `--debug`, anywhere in the arguments, shows the traceback as well; `-v` asks for details.

    Args:
        app: the room's commands.
        arguments: without the program name; None for those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _show_any_letter()
    debug = DEBUG_FLAG in words
    _State.is_verbose = VERBOSE_FLAG in words
    words = [word for word in words if word not in (DEBUG_FLAG, VERBOSE_FLAG)]
    try:
        interrupts.begin()
        returned: Any = app(args=words, standalone_mode=False)
        code = int(returned or ExitCode.DONE)
        interrupts.finish()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        if not interrupts.is_interrupted():
            return _explain(error)
        code = ExitCode.INTERRUPTED  # a library made another error of it
    if code == ExitCode.INTERRUPTED or interrupts.is_interrupted():
        interrupts.finish()
        code = ExitCode.INTERRUPTED
        _say(interrupts.INTERRUPTED_WORDS)
    return code


def _show_any_letter() -> None:
    """Let a console that lacks a letter show its number, since work that is done must not fail over its last line."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if callable(reconfigure):
            reconfigure(errors="backslashreplace")


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
    try:
        code = run_app(app, arguments)
        interrupts.finish()
    except KeyboardInterrupt:  # pressed again, while the first was being said
        interrupts.finish()
        code = ExitCode.INTERRUPTED
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as error:
        _say(f"the output cannot be written: {error.strerror}; free space or choose another place for it")
        os._exit(code or ExitCode.ENVIRONMENT)  # closing the output would fail again
    sys.exit(code)
