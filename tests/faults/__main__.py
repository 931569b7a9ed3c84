"""`python -m tests.faults --seed 7`, or `--seeds 100`, or `--hours 2`."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.run import describe, run
from tests.kafka.cluster import KafkaCluster


def main() -> int:
    """Make the runs asked for; returns 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("--hours", type=float, help="go on with new seeds for so long")
    parser.add_argument("--events", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=40.0, help="over which events come in")
    parser.add_argument("--faults", type=int, default=6)
    parser.add_argument("--only", nargs="*", choices=sorted(FAULTS), default=(), metavar="FAULT")
    parser.add_argument("--log", type=Path, help="append a line of JSON for each run")
    arguments = parser.parse_args()
    # The onlooker and the feed suffer from the faults too; that is no news.
    logging.disable(logging.ERROR)
    until = time.monotonic() + arguments.hours * 3600 if arguments.hours else None
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        cluster = KafkaCluster(Path(folder))
        try:
            cluster.start()
            for number in count():
                if time.monotonic() >= until if until else number >= arguments.seeds:
                    break
                outcome = run(
                    cluster,
                    arguments.seed + number,
                    events=arguments.events,
                    seconds=arguments.seconds,
                    faults=arguments.faults,
                    only=tuple(arguments.only),
                    say=lambda line: print(line, file=sys.stderr, flush=True),
                )
                failed += not outcome.ok
                print(describe(outcome), flush=True)
                if arguments.log:
                    with arguments.log.open("a", encoding="utf-8") as log:
                        log.write(describe(outcome) + "\n")
        finally:
            cluster.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
