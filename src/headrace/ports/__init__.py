"""The seams: protocols that stores, notifiers and clocks implement, with their contracts in prose."""
