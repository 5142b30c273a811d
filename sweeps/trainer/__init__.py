"""The trainer: a network, data and a recipe in, one result out. It knows no study."""
