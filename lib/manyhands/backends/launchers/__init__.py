"""Launchers: small processes that spawn commands, watch them, end them and reap them. They decide nothing."""
