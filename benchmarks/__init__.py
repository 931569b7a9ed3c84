"""What Gapwatch costs and how fast it is, measured side by side in one run.

`python -m benchmarks` starts a broker, preloads topics with posts of the sample day, and measures
workers as users run them: processes of their own, watched from outside. Each row says what it
stands for; `benchmarks.suite` says how each is measured.
"""
