"""The `fewlabels` console command: `fewlabels pretrain method=simclr …` from any directory."""

import os
import sys


def main() -> None:
    """Run the command named by the first argument with the remaining arguments; without one, list the commands."""
    from fewlabels import __version__
    from fewlabels.cli.app import run_app
    from fewlabels.cli.commands import COMMANDS

    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print("Usage: fewlabels COMMAND [key=value …]\n")  # noqa: T201
        for command in COMMANDS.values():
            print(f"  fewlabels {command.name:{width}}  {command.summary}")  # noqa: T201
        print("\nfewlabels COMMAND --help lists the settings of a command.")  # noqa: T201
    elif name == "--version":
        print(f"fewlabels {__version__}")  # noqa: T201
    elif name in ("-sc", "--shell-completion"):
        _complete()
    elif name in COMMANDS:
        sys.argv = [f"fewlabels {name}", *sys.argv[2:]]
        run_app(COMMANDS[name])
    else:
        sys.exit(f"fewlabels {name}: there is no such command. Choose from {', '.join(COMMANDS)}, or --help.")


def _complete() -> None:
    """Shell completion: `eval "$(fewlabels -sc install=bash)"`; Hydra completes the settings of a command."""
    from fewlabels.cli.app import run_app
    from fewlabels.cli.commands import COMMANDS

    words = os.environ.get("COMP_LINE", "").split(maxsplit=2)
    command = COMMANDS.get(words[1]) if len(words) > 1 else None
    if command and (len(words) > 2 or os.environ["COMP_LINE"].endswith(" ")):
        os.environ["COMP_LINE"] = " ".join(["fewlabels", *words[2:]]) + " " * (len(words) == 2)
    elif any(argument.startswith("query=") for argument in sys.argv):
        print(" ".join(name for name in COMMANDS if name.startswith("".join(words[1:2]))))  # noqa: T201
        return
    run_app(command or COMMANDS["pretrain"])


if __name__ == "__main__":
    main()
