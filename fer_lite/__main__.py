"""python -m fer_lite: the command line."""

from fer_lite import cli

cli.main()
