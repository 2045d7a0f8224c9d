"""The only layer that awaits: it runs what the cores decide, with tasks, threads, processes and clocks."""
