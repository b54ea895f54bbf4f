"""``itk_infer`` and ``python -m itk_infer``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Threads of NumPy's library would use .1 CPU seconds each, here and in workers, for waiting after its import.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    from itk_infer.streams import forgive_streams, lost_output, open_missing_streams

    open_missing_streams()
    forgive_streams()
    try:
        from itk_infer.cli.main import main as run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were imported
        sys.stderr.write("Interrupted.\n")
        code = 130
    if reason := lost_output():
        sys.stderr.write(f"warning: standard output could not be written to its end ({reason})\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
