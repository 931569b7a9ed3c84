"""`python -m benchmarks.local_store`: what a local RocksDB would save a restart, and cost an event.

The state of `benchmarks.restore` in a RocksDB on this machine's disk, by the bindings that Faust
takes (`pip install rocksdict`). A worker would still have to know all its keys, since windows are
sums over them, and to read the changelog from where the database ends. Compare with what restoring
from the topics takes (`python -m benchmarks.restore`).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import click

from benchmarks.machine import Cpu, machine, megabytes
from benchmarks.programs import run_program
from benchmarks.report import Row, show, show_json
from benchmarks.state import plan, records

BATCH = 100
"""Keys written together: about as many buckets and series as a chunk of events changes."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--keys", type=click.IntRange(min=1000), default=1_000_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--open", "folder", type=click.Path(path_type=Path), hidden=True)
def main(keys: int, as_json: bool, folder: Path | None) -> None:
    """Measure a RocksDB with as many state keys."""
    try:
        import rocksdict
    except ImportError:
        raise click.ClickException("pip install rocksdict") from None
    if folder is not None:
        print(json.dumps(_open(rocksdict, folder)), flush=True)
        return
    with tempfile.TemporaryDirectory(prefix="gapwatch-") as name:
        rows = list(_measure(rocksdict, Path(name) / "state", keys))
    facts = machine() | {"rocksdict": version("rocksdict")}
    (show_json if as_json else show)(sys.stdout, facts, rows)


def _measure(rocksdict: Any, folder: Path, keys: int) -> Iterator[Row]:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    database = rocksdict.Rdict(str(folder), options)
    state = ((key, value) for _, _, part in records(plan(keys)) for key, value in part)
    count = size = 0
    before, spent = Cpu.of(os.getpid()), 0.0
    while part := list(islice(state, BATCH)):
        began = time.perf_counter()
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in part:
            batch.put(key, value)
        database.write(batch)
        spent += time.perf_counter() - began
        count += len(part)
        size += sum(len(key) + len(value) for key, value in part)
    began = time.perf_counter()
    database.close()
    closing = time.perf_counter() - began
    cpu = Cpu.of(os.getpid()) - before
    part_name = f"RocksDB, {count:,} keys, {size / 1e6:.0f} MB"
    on_disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Row(part_name, "writing a key", f"{spent / count * 1e6:.1f} µs",
              f"{BATCH} at a time, not synced to disk; CPU, compaction included: "
              f"{cpu.total / count * 1e6:.1f} µs")  # fmt: skip
    yield Row(part_name, "on disk", f"{on_disk / 1e6:.0f} MB", f"closed in {closing:.1f} s")
    found = run_program("local_store", ["--open", str(folder)])
    note = f"CPU {found['listed_cpu']:.1f} s; then {found['listed_megabytes']:.0f} MB"
    yield Row(part_name, "opening and listing the keys", f"{found['listed']:.1f} s", note)
    yield Row(part_name, "reading all values as well", f"{found['read']:.1f} s",
              f"then {found['read_megabytes']:.0f} MB")  # fmt: skip
    yield Row(part_name, "reading one value", f"{found['get'] * 1e6:.1f} µs", "from memory: 0.1 µs")


def _open(rocksdict: Any, folder: Path) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    database = rocksdict.Rdict(str(folder), rocksdict.Options(raw_mode=True))
    keys = list(database.keys())
    listed, listed_megabytes = time.perf_counter() - began, megabytes(os.getpid())
    listed_cpu = time.process_time() - cpu
    some = keys[:: max(1, len(keys) // 10_000)]
    began_get = time.perf_counter()
    for key in some:
        database[key]
    get = (time.perf_counter() - began_get) / len(some)
    began = time.perf_counter()
    state = dict(database.items())
    read = time.perf_counter() - began
    assert len(state) == len(keys)
    found = {
        "listed": listed,
        "listed_cpu": listed_cpu,
        "listed_megabytes": listed_megabytes,
        "get": get,
        "read": read,
        "read_megabytes": megabytes(os.getpid()),
    }
    database.close()
    return found


if __name__ == "__main__":
    main()
