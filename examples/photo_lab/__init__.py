"""The photo lab: drop photographs into a page and watch durable jobs develop them."""
