"""What `lib.teachers` refuses, by name. Every message says what was met and what to do about it."""


class WrongLabel(ValueError):
    """A label that is neither +1 nor -1."""


class ZeroInput(ValueError):
    """An input that is the zero vector, on which every network without biases is 0."""


class NotSeparable(ValueError):
    """Labelled inputs that no hyperplane through 0 separates, or that the given one does not."""


class NotOrthogonallySeparable(ValueError):
    """Two inputs with y_i y_j x_i·x_j < 0."""


class SlopeOutOfRange(ValueError):
    """A leak outside [0, 1), or a slope outside [0, 1]."""


class NoClosedForm(ValueError):
    """Two points of which only one is a support vector of the coupled SVM."""


class ShapeMismatch(ValueError):
    """Inputs, labels or weights whose shapes do not fit together."""


class NotInAgreement(ValueError):
    """Neurons of one cluster that disagree on the sign of an input."""
