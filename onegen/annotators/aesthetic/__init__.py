"""How much people would like a picture. What the column stores, whichever backend made it."""

import pyarrow as pa

from onegen.sample import Annotation, Provides

DEFAULT_BACKEND = "laion"
"""No package ships weights for it."""
PROVIDES = Provides(fields={"aesthetic": pa.float64()})
"""`aesthetic`: the mark people would give, about 1 to 10; most photos lie between 4 and 6."""


def annotation_of(mark: float) -> Annotation:
    """Return what the column stores of a mark."""
    return Annotation({"aesthetic": round(float(mark), 4)})
