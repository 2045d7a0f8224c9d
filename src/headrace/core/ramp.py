"""How held work comes back after a breaker has closed: a little first, then more, never less than before."""


def allowance(elapsed_s: float, ramp_s: float, start: int, slots: int) -> int | None:
    """How many may run at a time, `elapsed_s` after the breaker has closed; None: as many as there is room for.

    It begins at `start` (at least 1) and grows evenly to `slots` over `ramp_s` seconds. Where there is
    no room for more than `start` there is nothing to restrain.

    Source: Envoy's slow start mode, at its default aggression.
    """
    first = max(start, 1)
    elapsed_s = max(elapsed_s, 0.0)
    if elapsed_s >= ramp_s or first >= slots:
        return None
    return first + int((slots - first) * elapsed_s / ramp_s)
