"""HTTP and the live feed: parse, call the app, drive a core."""
