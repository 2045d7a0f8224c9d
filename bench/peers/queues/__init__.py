"""Each peer behind one small interface. These modules run in the peer's own environment, not in the project's."""
