"""Data: `python3 -m data_prep build SET` and what looks at the result; `--help` lists the arguments of each."""

import argparse

from common import errors, streams
from data_prep import build, check, preview


def of_a_built_set(parser):
    parser.add_argument("set", metavar="SET", help="the name of a built set")
    parser.add_argument("--out", default="data", help="where the folder SET lies (default: %(default)s)")


COMMANDS = {
    "build": (build, build.add_arguments, "official files -> data/SET"),
    "check": (check, of_a_built_set, "verify data/SET"),
    "preview": (preview, of_a_built_set, "contact sheets of data/SET"),
}


def parser():
    """The commands and their arguments."""
    top = argparse.ArgumentParser(prog="python3 -m data_prep", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, add_arguments, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=module.__doc__.splitlines()[0])
        add_arguments(command)
        command.set_defaults(run=module.run)
    return top


@errors.main
@streams.unfailing()
def main():
    args = parser().parse_args()
    return args.run(args)


if __name__ == "__main__":
    main()
