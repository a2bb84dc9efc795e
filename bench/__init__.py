"""Figures beside the raw SDK in the same run: `python -m bench`, explained in docs/benchmarks.md."""
