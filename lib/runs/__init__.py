"""Experiments at any scale, and records of them: `python -m lib` runs, chapters read."""
