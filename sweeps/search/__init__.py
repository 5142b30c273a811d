"""Search within a space: strategies that propose parameters, and proposals in a study."""
