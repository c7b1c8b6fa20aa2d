"""What `lib.paths` refuses, by name. Every message says what was met and what to do about it."""


class UnsupportedModule(ValueError):
    """The network leaves the vocabulary in which the path-lifting is defined."""


class NotFinite(ValueError):
    """A parameter or a running statistic is NaN, infinite, or a negative variance."""


class ArchitectureMismatch(ValueError):
    """Two networks that should share one graph do not."""


class SignMismatch(ValueError):
    """Two parameters of opposite signs: the path-metric bounds nothing there."""


class TooManyPaths(ValueError):
    """Enumeration was asked of a network with more paths than the limit."""
