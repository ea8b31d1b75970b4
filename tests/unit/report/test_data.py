"""The cutoff that a report shows first."""

from dataclasses import replace


def test_cutoff_is_20_or_that_of_the_choice(data, changed):
    assert (data.cutoffs, data.cutoff) == ([10, 20, 50], 20)
    models = [
        replace(model, test={k: v for k, v in model.test.items() if not k.endswith("@20")})
        for model in data.models
    ]
    other = changed(models=models, selected_on="validation ndcg@50")
    assert (other.cutoffs, other.cutoff) == ([10, 50], 50)
