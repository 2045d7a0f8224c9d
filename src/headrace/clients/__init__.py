"""What bells and bridges make of the same client of a broker: how it is opened, that it fails at once, how it ends."""
