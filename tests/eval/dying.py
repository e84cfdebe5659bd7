"""A protocol with a unit that ends the process that scores it, for workers to import."""

import os

from onegen.eval.cameras import CameraPose


class Dying(CameraPose):
    """Scores everything but the cube."""

    def score(self, unit, folder):
        if unit.name == "cube":
            os._exit(7)
        return super().score(unit, folder)
