"""Benchmarks: ours and what one would use instead, interleaved in one run on one machine, reported as ratios."""
