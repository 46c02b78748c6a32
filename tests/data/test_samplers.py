"""Orders of samples depend on seed and epoch, and processes share them fairly."""

import pytest

from monai_agglo.data import EpochBatchSampler, StepBatchSampler, samplers


class TestSampler:
    def test_every_sample_once_in_an_order_of_the_epoch(self):
        sampler = EpochBatchSampler(range(10), 3, seed=4)
        orders = []
        for epoch in (1, 2, 1):
            sampler.set_position(epoch)
            batches = list(sampler)
            assert [len(batch) for batch in batches] == [3, 3, 3] and len(sampler) == 3
            assert {e for batch in batches for e, _ in batch} == {epoch}
            orders.append([n for batch in batches for _, n in batch])
            assert len(set(orders[-1])) == 9
        assert orders[0] == orders[2] != orders[1]

    def test_position_within_an_epoch_holds_for_one_pass(self):
        sampler = EpochBatchSampler(range(10), 3, seed=4)
        sampler.set_position(2)
        whole = list(sampler)
        sampler.set_position(2, 2)
        assert list(sampler) == whole[2:] and list(sampler) == whole

    def test_fewer_samples_than_a_batch(self):
        sampler = EpochBatchSampler(range(2), 5, shuffle=False)
        assert list(sampler) == [[(1, 0), (1, 1)]] and len(sampler) == 1

    @pytest.mark.parametrize(("count", "world"), [(10, 2), (11, 3), (2, 4)])
    def test_processes_share_the_samples(self, monkeypatch, count, world):
        parts = []
        for rank in range(world):
            monkeypatch.setattr(samplers, "rank_and_world", lambda rank=rank: (rank, world))
            parts.append(list(EpochBatchSampler(range(count), 2, seed=1)))
        assert len({len(part) for part in parts}) == 1  # or the processes would wait for one another forever
        numbers = [n for part in parts for batch in part for _, n in batch]
        assert len(set(numbers)) == min(count, len(numbers))


def test_step_batches_cover_epochs_and_resume_anywhere():
    whole = list(StepBatchSampler(range(10), 3, 7, seed=4))
    assert [len(batch) for batch in whole] == [3] * 7 and len(StepBatchSampler(range(10), 3, 7)) == 7
    for epoch in (0, 1):  # three batches of an epoch, without repetition
        seen = [pair for batch in whole[3 * epoch : 3 * epoch + 3] for pair in batch]
        assert {number for number, _ in seen} == {epoch} and len({place for _, place in seen}) == 9
    resumed = StepBatchSampler(range(10), 3, 7, seed=4)
    resumed.set_position(1, 5)
    assert list(resumed) == whole[5:] and list(resumed) == whole
    assert whole != list(StepBatchSampler(range(10), 3, 7, seed=5))


def test_a_step_takes_all_samples_where_there_are_too_few():
    assert [sorted(place for _, place in batch) for batch in StepBatchSampler(range(2), 16, 3)] == [[0, 1]] * 3
