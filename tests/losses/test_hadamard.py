"""Hadamard matrices, and rotations that even out variances where there is none."""

import numpy as np
import pytest

from monai_agglo.losses.hadamard import equalising_rotation, hadamard


@pytest.mark.parametrize("n", [1, 2, 4, 8, 12, 20, 24, 28, 36, 48, 60, 72, 144, 160, 192, 256, 320, 384, 512, 576, 768])
def test_rows_are_orthogonal_and_entries_are_signs(n):
    """Sylvester (powers of two), Paley's first (12, 20) and second (28, 36), and products of these."""
    found = hadamard(n)
    assert found.shape == (n, n) and set(np.unique(found)) <= {-1, 1}
    product = found.astype(np.float32) @ found.T.astype(np.float32)
    assert np.array_equal(product, n * np.eye(n, dtype=np.float32))


@pytest.mark.parametrize("n", [1024, 1280, 2048])
def test_wide_teachers_have_one(n):
    rows = hadamard(n)[:: n // 16].astype(np.int64)
    assert np.array_equal(rows @ rows.T, n * np.eye(16, dtype=np.int64))


def test_there_is_none_of_other_orders():
    assert [n for n in range(1, 48) if hadamard(n) is None] == [n for n in range(3, 48) if n % 4]
    assert hadamard(52) is None  # one exists, these ways do not find it
    with pytest.raises(ValueError, match="at least one row, not 0"):
        hadamard(0)


@pytest.mark.parametrize("n", [3, 5, 17, 52, 100, 161])
@pytest.mark.parametrize("spread", ["even", "wild", "one", "few"])
def test_a_chain_of_turns_evens_out_any_variances(n, spread):
    rng = np.random.default_rng(n)
    variances = {
        "even": np.full(n, 2.5),
        "wild": 10 ** rng.uniform(-8, 3, n),
        "one": np.eye(n)[1],
        "few": np.where(np.arange(n) < 2, [3.0], 0.0),
    }[spread]
    rotation = equalising_rotation(variances)
    assert np.abs(rotation @ rotation.T - np.eye(n)).max() < 1e-12
    found = np.diag(rotation @ np.diag(variances) @ rotation.T)
    np.testing.assert_allclose(found, variances.mean(), rtol=1e-9)


def test_turns_by_hand():
    """Variances 3, 0 and 3, of mean 2: mixing 0 with 3 for a variance of 2 takes a turn of tan^2 = 2."""
    rotation = equalising_rotation(np.array([3.0, 0.0, 3.0]))
    mixed = rotation[1]
    assert mixed[1] ** 2 == pytest.approx(1 / 3) and mixed[0] ** 2 + mixed[2] ** 2 == pytest.approx(2 / 3)


def test_where_there_is_a_hadamard_matrix_it_is_taken():
    assert np.allclose(np.abs(equalising_rotation(np.arange(12.0))), 12**-0.5)
