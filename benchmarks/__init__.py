"""Speed, memory and accuracy of ogpt beside its baselines; run as `python -m benchmarks.run`."""
