"""The decisions of Headrace: pure, without I/O, clock or threads; `now` and `rng` are arguments."""
