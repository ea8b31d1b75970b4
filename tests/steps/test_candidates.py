"""The folder of a candidate: a model per seed, or the reason why there is none."""

from pathlib import Path

from pipeline_steps.runtime import candidates


def test_a_candidate_that_is_left_out_keeps_no_model_of_an_earlier_seed(tmp_path: Path) -> None:
    first = candidates.seed_directory(tmp_path, 1)
    first.mkdir()
    (first / "weights.safetensors").touch()
    candidates.leave_out(tmp_path, "it is too large")
    assert not first.exists()
    assert candidates.why_left_out(tmp_path) == "it is too large"
    assert candidates.seed_directories(tmp_path) == []
