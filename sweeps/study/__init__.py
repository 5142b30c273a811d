"""The study: its folder, who trains what in it, how far it is, and what is left to do."""
