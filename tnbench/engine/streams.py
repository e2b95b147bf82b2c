"""The last word of every key (`tnbench.engine.splitmix.key`): it keeps the uses of one seed apart from each other.

Stored results hang on these numbers: a new use gets a new number, and none is given away again.
"""

from __future__ import annotations

ROW, COLUMN, FLIP, CUT_ROW, CUT_COLUMN = range(5)
"""Of (seed, epoch), one number a picture: an augmentation's offsets, its mirror, and the middle of what is cut out."""

AREA, ASPECT, TOP, LEFT = range(16, 20)
"""Of (seed, epoch), one number a picture: the random part that is resized."""

ORDER, LAYERS, CALIBRATION, VALIDATION, RECALIBRATION = range(5)
"""Seeds of torch's generators, so apart from the streams above: an epoch's order; what layers draw (dropout) on a rank,
of (seed, rank); and of (seed, 0) the pictures for calibration, for validation, and for BatchNorm's statistics."""
