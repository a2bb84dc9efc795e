"""Tests of what is released: the wheel, the source distribution, the changelog, and installing them."""
