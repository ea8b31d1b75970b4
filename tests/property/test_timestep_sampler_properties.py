"""The vectorised ring of losses against a queue for each timestep."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffrec_core.diffusion.timestep_sampler import TimestepSampler, TimestepSamplerConfig
from tests.oracle.oracles import TimestepOracle
from tests.oracle.strategies import effort

Batch = list[tuple[int, float]]


@st.composite
def runs(draw: st.DrawFn) -> tuple[int, TimestepSamplerConfig, list[Batch]]:
    """T, a configuration, and batches of (t, loss) of all sizes, the empty one included."""
    steps = draw(st.integers(1, 5))
    config = TimestepSamplerConfig(
        loss_history_length=draw(st.integers(1, 4)), uniform_share=draw(st.floats(0.0, 1.0))
    )
    pair = st.tuples(st.integers(0, steps - 1), st.floats(0.001, 100.0))
    batches = draw(st.lists(st.lists(pair, max_size=25), max_size=8))
    return steps, config, batches


def as_tensors(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        torch.tensor([t for t, _ in batch], dtype=torch.long),
        torch.tensor([loss for _, loss in batch], dtype=torch.float64),
    )


@effort(150)
@given(runs())
def test_updates_and_probabilities_agree_with_queues(
    run: tuple[int, TimestepSamplerConfig, list[Batch]],
) -> None:
    steps, config, batches = run
    sampler = TimestepSampler(steps, config)
    oracle = TimestepOracle(steps, config.loss_history_length, config.uniform_share)
    for batch in batches:
        t, losses = as_tensors(batch)
        sampler.update(t, losses)
        oracle.update(t.tolist(), losses.tolist())
        for step, queue in enumerate(oracle.recent):
            kept = sampler.loss_history[step].tolist()
            assert sorted(kept)[-len(queue) :] == sorted(queue) or not queue
        np.testing.assert_allclose(sampler.probabilities(), oracle.probabilities(), rtol=1e-12)
    counts = np.zeros(steps, dtype=np.int64)
    for batch in batches:
        for step, _ in batch:
            counts[step] += 1
    assert sampler.loss_count.tolist() == counts.tolist()


@effort(100)
@given(runs())
def test_one_batch_is_as_good_as_many(
    run: tuple[int, TimestepSamplerConfig, list[Batch]],
) -> None:
    steps, config, batches = run
    together, apart = TimestepSampler(steps, config), TimestepSampler(steps, config)
    together.update(*as_tensors([pair for batch in batches for pair in batch]))
    for batch in batches:
        apart.update(*as_tensors(batch))
    assert torch.equal(together.loss_history, apart.loss_history)
    assert torch.equal(together.loss_count, apart.loss_count)


@effort(100)
@given(runs())
def test_probabilities_are_a_distribution_with_a_floor(
    run: tuple[int, TimestepSamplerConfig, list[Batch]],
) -> None:
    steps, config, batches = run
    sampler = TimestepSampler(steps, config)
    for batch in batches:
        sampler.update(*as_tensors(batch))
    p = sampler.probabilities()
    assert abs(float(p.sum()) - 1.0) < 1e-12
    assert float(p.min()) >= config.uniform_share / steps - 1e-12
    t, importance = sampler.sample(16)
    torch.testing.assert_close(importance, (p[t] * steps).to(torch.float32))
    assert (importance > 0).all()


@effort(50)
@given(runs())
def test_the_state_survives_saving(run: tuple[int, TimestepSamplerConfig, list[Batch]]) -> None:
    steps, config, batches = run
    sampler, copy = TimestepSampler(steps, config), TimestepSampler(steps, config)
    half = len(batches) // 2
    for batch in batches[:half]:
        sampler.update(*as_tensors(batch))
    copy.load_state_dict({name: value.clone() for name, value in sampler.state_dict().items()})
    for batch in batches[half:]:
        for one in (sampler, copy):
            one.update(*as_tensors(batch))
    assert torch.equal(sampler.loss_history, copy.loss_history)
    assert torch.equal(sampler.probabilities(), copy.probabilities())
