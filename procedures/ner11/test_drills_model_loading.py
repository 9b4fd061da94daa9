"""Drills of the page model-loading. Its other paths say on the page why no lab can show them."""

from __future__ import annotations

import datetime

import pytest

from systems.ner11.lab import files
from systems.ner11.lab.layout import Layout

PAGE = "ner11/model-loading"


@pytest.mark.drill(runbook=PAGE, path="C", fault="models-not-loaded")
def test_models_are_loaded_again(drill):
    drill()


@pytest.mark.drill(runbook=PAGE, path="A", fault="model-truncated")
def test_a_damaged_model_is_restored_from_its_backup(drill):
    drill()


def fetch_from_the_other_replica(directory):
    files.build_models(Layout(directory), datetime.datetime.now(datetime.UTC))


@pytest.mark.drill(runbook=PAGE, path="B", fault="model-missing-with-its-backups")
def test_models_that_no_backup_has_are_fetched_loaded_and_backed_up(drill):
    drill(meanwhile={1: fetch_from_the_other_replica})


@pytest.mark.drill(runbook=PAGE, path="D", fault="inference-slow")
def test_a_model_that_has_become_slow_begins_anew(drill):
    drill()
