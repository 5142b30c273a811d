"""Training a population: recipes, data, the trainer, the study folder and its workers."""
