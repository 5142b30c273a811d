"""The command `designspace`: finds subcommands by entry point and reports user errors in one line."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from designspace.packages import own_module

GROUP = "designspace.commands"


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand. Exit codes: 0 success, 1 a failure that the command reports, 2 a user error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not debug:
        warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        return run(arguments)
    except BrokenPipeError:  # the reader closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, ImportError) as error:
        if debug:
            raise
        print(f"designspace {arguments[0]}: {_message(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"designspace {arguments[0]}: interrupted", file=sys.stderr)
        return 130


def run(arguments: list[str]) -> int:
    """Call the subcommand with the remaining arguments."""
    commands = {point.name: point for point in entry_points(group=GROUP)}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(commands), flush=True)
        return 0
    name, *rest = arguments
    if name in ("--version", "-V"):
        from designspace import __version__

        print(f"designspace {__version__}")
        return 0
    if name not in commands:
        from designspace.validated import unknown

        print(f"designspace: {unknown('command', name, commands, 'designspace --help')}", file=sys.stderr)
        return 2
    return load(commands[name])(rest)


def load(point: EntryPoint) -> Callable[[list[str]], int]:
    """Import a subcommand; this project's packages are found whatever the import path holds."""
    own_module(point.module)
    command: Callable[[list[str]], int] = point.load()
    return command


def usage(commands: dict[str, EntryPoint]) -> str:
    """The help page: every command with the first line of its docstring."""
    lines = [
        "usage: designspace COMMAND … [--debug]",
        "       designspace --version",
        "",
        "Draw populations of convolutional networks, train them for a few epochs, and compare the design spaces.",
        "",
    ]
    for name, point in commands.items():
        lines.append(f"  {name:<10} {(load(point).__doc__ or '').strip().splitlines()[0]}")
    return "\n".join([*lines, "", "designspace COMMAND --help shows arguments and an example."])


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"designspace: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
