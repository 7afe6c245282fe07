"""A campaign against the product: kills, damage and bad input; `python -m tests.campaign`."""
