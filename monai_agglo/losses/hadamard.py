"""Rotations that equalise channel variances: Hadamard if available, otherwise a chain of Givens rotations.

A Hadamard matrix has entries +1 and -1 and orthogonal rows. Scaled by 1 / sqrt(n) it is a rotation that mixes all n
directions equally into each output, for any variances. None exists unless n is 1, 2 or a multiple of 4.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["equalising_rotation", "hadamard"]


@lru_cache(maxsize=64)
def hadamard(n: int) -> np.ndarray | None:
    """A Hadamard matrix.

    Built from Sylvester's and Kronecker's products and Paley's two constructions over primes, which give every power of
    two and every number of channels of the teachers here (256, 384, 576, 768, 2048).

    Args:
        n: order.

    Returns:
        (n, n) int8 of +1 and -1, rows orthogonal, read-only; None if none exists or the constructions find none (52 is
        the first such order).

    Raises:
        ValueError: if ``n`` is below 1.
    """
    if n < 1:
        raise ValueError(f"a Hadamard matrix has at least one row, not {n}")
    found = _construct(n)
    if found is not None:
        found.setflags(write=False)
    return found


def _construct(n: int) -> np.ndarray | None:
    if n == 1:
        return np.ones((1, 1), np.int8)
    if n == 2:
        return np.array([[1, 1], [1, -1]], np.int8)
    if n % 4:
        return None
    half = hadamard(n // 2)
    if half is not None:
        return np.kron(hadamard(2), half)
    if _is_prime(n - 1):
        return _paley_one(n - 1)
    if _is_prime(n // 2 - 1) and (n // 2 - 1) % 4 == 1:
        return _paley_two(n // 2 - 1)
    for a in range(4, int(n**0.5) + 1, 4):
        if n % a == 0 and hadamard(a) is not None and hadamard(n // a) is not None:
            return np.kron(hadamard(a), hadamard(n // a))
    return None


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


def _residues(q: int) -> np.ndarray:
    """(q, q) of the quadratic character of i - j modulo the prime q: 0, +1 for squares, -1 for the others."""
    character = np.full(q, -1, np.int8)
    character[[x * x % q for x in range(q)]] = 1
    character[0] = 0
    places = np.arange(q)
    return character[(places[:, None] - places) % q]


def _border(q: int, left: int) -> np.ndarray:
    """The character's matrix with a row of ones above and a column of ``left`` before it."""
    matrix = np.zeros((q + 1, q + 1), np.int8)
    matrix[0, 1:], matrix[1:, 0], matrix[1:, 1:] = 1, left, _residues(q)
    return matrix


def _paley_one(q: int) -> np.ndarray:
    """Order q + 1 for a prime q = 3 (mod 4): the bordered matrix S is skew, S S' = q I, and so I + S will do."""
    return np.eye(q + 1, dtype=np.int8) + _border(q, -1)


def _paley_two(q: int) -> np.ndarray:
    """Order 2 (q + 1) for a prime q = 1 (mod 4): the bordered matrix is symmetric, and is doubled together with I."""
    first, second = np.array([[1, 1], [1, -1]], np.int8), np.array([[1, -1], [-1, -1]], np.int8)
    return np.kron(_border(q, 1), first) + np.kron(np.eye(q + 1, dtype=np.int8), second)


def equalising_rotation(variances: np.ndarray) -> np.ndarray:
    """An orthonormal R with a constant diagonal of R diag(variances) R'.

    A Hadamard matrix, valid for any variances, if available. Otherwise a chain of n - 1 Givens rotations: each mixes a
    channel below the mean variance with one above it, so that the first gets the mean exactly (always possible by the
    Schur-Horn theorem). The chain mixes less evenly but exists for every n.

    Args:
        variances: (n,), not negative.

    Returns:
        (n, n) float64.
    """
    n = len(variances)
    flat = hadamard(n)
    if flat is not None:
        return flat.astype(np.float64) / n**0.5
    rotation, matrix = np.eye(n), np.diag(np.asarray(variances, np.float64))
    mean = float(np.mean(variances))
    active = np.ones(n, bool)
    for _ in range(n - 1):
        diagonal = matrix.diagonal()
        low = int(np.where(active, diagonal, np.inf).argmin())
        high = int(np.where(active, diagonal, -np.inf).argmax())
        if diagonal[high] - diagonal[low] <= 1e-13 * abs(mean):
            break
        # (cos, sin) of the rotation: tan solves (a_hh - m) t^2 + 2 a_lh t + (a_ll - m) = 0, whose roots have two signs.
        a, b, c = diagonal[high] - mean, matrix[low, high], diagonal[low] - mean
        tangent = (-b - np.copysign(np.sqrt(max(b * b - a * c, 0.0)), b)) / a
        if abs(tangent) > 1:
            tangent = c / (a * tangent)  # the other root, the smaller angle
        cosine = 1 / np.sqrt(1 + tangent * tangent)
        turn = np.array([[cosine, cosine * tangent], [-cosine * tangent, cosine]])
        pair = [low, high]
        rotation[pair] = turn @ rotation[pair]
        matrix[pair] = turn @ matrix[pair]
        matrix[:, pair] = matrix[:, pair] @ turn.T
        active[low] = False
    return rotation
