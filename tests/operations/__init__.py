"""What operators do to a running pipeline, on a real cluster and under load, and that nothing is
lost or counted twice by it. The procedures are those of docs/operations.md.
"""
