"""The trainer: a network, data, and a recipe in, one record out. Independent of studies and of Hydra."""
