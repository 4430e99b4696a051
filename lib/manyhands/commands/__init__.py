"""Commands run by themselves or in chains: pipelines without a shell, retries, answers to prompts, everything they start ended with them."""
