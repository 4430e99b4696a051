"""The processes of this machine: list, inspect, wait for and stop them."""
