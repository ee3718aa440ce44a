"""Run `python -m forge`."""

from forge.cli.start import main

main()
