"""How likely a photo is pornographic: what `where: "nsfw < 0.5"` filters on, whichever backend says so."""

import pyarrow as pa

from onegen.sample import Annotation, Provides

PROVIDES = Provides(fields={"nsfw": pa.float64()})
"""`nsfw`: a probability in [0, 1]."""


def annotation_of(probability: float) -> Annotation:
    """Return what the column stores of a probability."""
    return Annotation({"nsfw": round(float(probability), 8)})
