"""What `lib.ntk` refuses, by name. Every message says what was met and what to do about it."""


class UnknownActivation(ValueError):
    """A name that is no activation here, or something that maps no tensor to a tensor."""


class OutOfRange(ValueError):
    """A hyperparameter outside the range in which the theory is defined."""


class ShapeMismatch(ValueError):
    """Inputs or kernels whose shapes do not fit together."""


class NotFinite(ValueError):
    """A NaN or an infinity among the inputs."""


class NotConverged(ValueError):
    """A quadrature or a search that did not reach its tolerance."""
