"""Process that builds the report of a run while it trains; ``launch.records.report_updates`` starts it.

python -m launch.run_report.update RUN
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

DEADLINE_S = 900
"""Seconds of wall time after which the process ends itself, also if the run that started it was killed."""
NICENESS = 19
"""Lowest priority: a build takes only the time that the run leaves."""


def main() -> None:
    """Build the report of the run directory that is the only argument."""
    signal.alarm(DEADLINE_S)
    os.nice(NICENESS)
    from launch.run_report.build import build_report  # after the lower priority, since importing takes most of the time

    run = Path(sys.argv[1])
    build_report(run, run / "report")


if __name__ == "__main__":
    main()
