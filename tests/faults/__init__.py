"""Breaking it on purpose: seeded faults on a real cluster, and a checker of what must hold.

`python -m tests.faults --seed 7` makes one run; `--seeds 100` makes many and prints the table of
docs/reliability.md.
"""
