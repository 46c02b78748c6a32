"""What single parts cost: the cache, the balancers, a further student, a pool."""
