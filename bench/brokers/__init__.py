"""What brokers cost and give: `python -m bench.brokers` measures wake-ups through each notifier."""
