"""The command `designspace`: finds its sub-commands by entry point and turns users' mistakes into one sentence."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import Any

GROUP = "designspace.commands"


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command; exit codes: 0 done, 1 the command's own failure, 2 the user's mistake."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not debug:
        warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        return run(arguments)
    except BrokenPipeError:  # the reader, like `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if debug:
            raise
        print(f"designspace {arguments[0]}: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"designspace {arguments[0]}: interrupted", file=sys.stderr)
        return 130


def run(arguments: list[str]) -> int:
    """Find the command and call it with the arguments that are left."""
    commands = {point.name: point for point in entry_points(group=GROUP)}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(commands), flush=True)
        return 0
    name, *rest = arguments
    if name not in commands:
        print(f"designspace: no such command: {name}; the commands are {', '.join(commands)}", file=sys.stderr)
        return 2
    return commands[name].load()(rest)


def usage(commands: dict[str, EntryPoint]) -> str:
    """The help page: every command with the first line of its docstring."""
    lines = [
        "usage: designspace COMMAND … [--debug]",
        "",
        "Draw populations of convolutional networks, train them for a few epochs, compare the design spaces.",
        "",
    ]
    for name, point in commands.items():
        lines.append(f"  {name:<10} {(point.load().__doc__ or '').strip().splitlines()[0]}")
    return "\n".join([*lines, "", "designspace COMMAND --help shows arguments and an example."])


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _show_warning(message: Warning | str, *_: Any) -> None:
    print(f"designspace: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
