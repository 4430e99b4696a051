"""A batch from its first input to its last record: one plan carried out over many inputs, in one stage or several; continued, measured."""
