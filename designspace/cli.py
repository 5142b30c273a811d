"""The command `designspace`: finds subcommands by entry point and reports user errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

from designspace.packages import OWN, own_module

GROUP = "designspace.commands"

SHELLS = {
    "bash": "complete -r designspace",
    "zsh": "compdef -d designspace",
    "fish": "complete --erase --command designspace",
}
"""Shells with completion, and the code that uninstalls it."""


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
    if "_ARGCOMPLETE" in os.environ:
        complete(commands)
    if arguments[:1] in (["--shell-completion"], ["-sc"]):
        print(shell_code(arguments[1:]))
        return 0
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


def complete(commands: Mapping[str, EntryPoint]) -> NoReturn:
    """Answer a shell that completes a command line: with commands, or with what the command accepts."""
    import argcomplete
    from argcomplete.lexers import split_line

    start = int(os.environ["_ARGCOMPLETE"])
    words = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))[3]
    # Commands of other packages may not use our parser, which answers instead of running the command.
    ours = {name: point for name, point in commands.items() if point.module.split(".")[0] in (*OWN, "designspace")}
    if len(words) > start and words[start] in ours:
        os.environ["_ARGCOMPLETE"] = str(start + 1)
        load(ours[words[start]])([])
    parser = argparse.ArgumentParser(prog="designspace")
    parser.add_argument("command", choices=sorted(commands))
    parser.add_argument("--version", action="store_true")
    argcomplete.autocomplete(parser, always_complete_options="long")
    sys.exit(0)


def shell_code(arguments: Sequence[str]) -> str:
    """The code that installs or uninstalls shell completion, as Hydra's --shell-completion.

    Args:
        arguments: install=SHELL or uninstall=SHELL, one of `SHELLS`.
    """
    from argcomplete import shellcode

    from designspace.validated import unknown

    action, _, shell = (arguments[0] if len(arguments) == 1 else "").partition("=")
    if action not in ("install", "uninstall"):
        raise ValueError("--shell-completion: must be followed by install=bash or uninstall=bash")
    if shell not in SHELLS:
        raise ValueError(unknown(action, shell, SHELLS))
    if action == "install":
        code: str = shellcode(["designspace"], shell=shell)
        return code
    return SHELLS[shell]


def load(point: EntryPoint) -> Callable[[list[str]], int]:
    """Import a subcommand from this project's packages, regardless of the import path."""
    own_module(point.module)
    command: Callable[[list[str]], int] = point.load()
    return command


def usage(commands: dict[str, EntryPoint]) -> str:
    """The help page: every command with the first line of its docstring."""
    lines = [
        "usage: designspace COMMAND … [--debug]",
        "       designspace --version",
        '       eval "$(designspace --shell-completion install=bash)"    # complete commands, settings and names',
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
