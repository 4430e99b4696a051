"""Runs single commands or chains: pipelines without a shell, retries, answers to prompts; all processes that they start are ended."""
