"""Whether the models are there, are what they should be, and answer fast enough."""

from __future__ import annotations

import pytest

from systems.judging import listed
from systems.judging import told

PAGE = "ner11/model-loading"


@pytest.mark.p1(runbook=PAGE)
def test_model_files_match_their_manifest(model_files):
    assert model_files.error is None
    assert model_files.ok, listed([f"{name} {why}" for name, why in model_files.reasons.items()]) or repr(
        model_files
    )


@pytest.mark.startup
@pytest.mark.requires(
    "test_the_api_answers", "test_the_contract_is_the_configured_one", "test_model_files_match_their_manifest"
)
@pytest.mark.p1(runbook=PAGE)
@pytest.mark.post_maintenance
def test_models_are_loaded(api_models):
    assert api_models.error is None
    assert api_models.loaded is True, listed(api_models.problems)
    assert api_models.available != (), "the API says that its models are loaded, and names none"


@pytest.mark.requires("test_the_metrics_are_exposed")
@pytest.mark.p2(runbook=PAGE)
def test_inference_p95_is_below_500_ms(api_figures, ner11):
    """Since the API began, by its own histogram. An API that has recognised nothing yet was not slow at it."""
    seconds = told(api_figures).inference_p95_seconds
    if seconds is not None:
        assert seconds < ner11.limits.inference_p95_seconds, f"{api_figures.inference_count:.0f} inferences"


@pytest.mark.requires("test_the_metrics_are_exposed")
@pytest.mark.p2(runbook="ner11/performance-degradation")
def test_the_inference_queue_is_short(api_figures, ner11):
    """An API without a queue does not expose its length."""
    waiting = told(api_figures).inference_queue
    if waiting is not None:
        assert waiting <= ner11.limits.inference_queue
