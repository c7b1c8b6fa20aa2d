"""The mathematics behind the chapters: pure functions, imported module by module."""
