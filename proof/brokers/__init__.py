"""Messages into jobs and events out of them, while the broker is killed every 10 s and the worker every 5 s."""
