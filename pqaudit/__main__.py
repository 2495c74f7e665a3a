"""``python -m pqaudit``."""

from pqaudit.cli.main import main

main()
