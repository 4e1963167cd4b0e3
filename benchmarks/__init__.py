"""What headstart promises about speed and memory, measured by `python -m benchmarks`; see docs/benchmarks.md."""
