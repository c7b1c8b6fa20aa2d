"""Test errors in the figures of Brutzkus & Globerson 2021, read off the plots by eye: ± 0.01.

Keys are learners, then training sizes (Figure 5: numbers of patches).  What the plots do not show
clearly is left out.  A comparison must allow for the reading.
"""

READING = 0.01  # how far a reading may be off

PAPER_VALUES: dict[str, dict[str, dict[int, float]]] = {
    "3a": {
        "ConvPool": {10: 0.08, 50: 0.0, 100: 0.0, 200: 0.0},
        "MLP": {10: 0.44, 50: 0.31, 100: 0.185, 200: 0.08},
        "SVM": {10: 0.44, 50: 0.285, 100: 0.15, 200: 0.015},
    },
    "3b": {
        "ConvPool": {10: 0.215, 100: 0.0, 200: 0.0, 500: 0.0, 1000: 0.0},
        "MLP": {10: 0.455, 100: 0.28, 200: 0.215, 500: 0.105, 1000: 0.07},
        "SVM": {10: 0.455, 100: 0.28, 200: 0.21, 500: 0.125, 1000: 0.105},
    },
    "3c": {
        "ConvPool": {100: 0.18, 500: 0.07, 1000: 0.065, 5000: 0.035, 10_000: 0.03},
        "MLP": {100: 0.36, 1000: 0.21, 5000: 0.11, 10_000: 0.085},
        "SVM": {100: 0.36, 10_000: 0.26},
    },
    "5": {
        "ConvPool": {2: 0.005, 5: 0.01, 10: 0.02, 20: 0.02, 50: 0.057},
        "MLP": {2: 0.055, 5: 0.30, 10: 0.43, 20: 0.485, 50: 0.495},
        "SVM": {2: 0.055, 5: 0.30, 10: 0.43, 20: 0.485, 50: 0.495},
    },
}
