"""Runs a batch from its first input to its last record: one plan over many inputs, in one stage or several; also continued and measured."""
