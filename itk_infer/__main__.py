"""``itk_infer`` and ``python -m itk_infer``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from itk_infer.cli.group import main as run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
