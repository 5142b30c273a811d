"""Search within a space: strategies that propose parameters, and the proposals of a study."""
