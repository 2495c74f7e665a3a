"""``python -m pqaudit``."""

from pqaudit.cli.main import entry

if __name__ == "__main__":  # worker processes import this module
    entry()
