"""Drills of the page model-loading. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import pytest

PAGE = "ner11/model-loading"


@pytest.mark.drill(runbook=PAGE, path="C", fault="models-not-loaded")
def test_models_are_loaded_again(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="A", fault="model-truncated")
def test_a_damaged_model_is_restored_from_its_backup(drill):
    drill()
