"""The study of the recipe: does agglomeration help, which balancing, and by how much."""
