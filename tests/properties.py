"""How property tests run here: the same examples every time, and no deadline, since this machine is shared."""

from hypothesis import HealthCheck, settings

PROPERTY = settings(
    derandomize=True, deadline=None, database=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
FEW = settings(PROPERTY, max_examples=15)
