"""What the caller gives: routes, metrics, a compose file, scripts; and what is said of what cannot be used."""

from __future__ import annotations

import json

import pytest

from pytest_opsrunbooks import linting
from pytest_opsrunbooks.runbooks.lint import given
from pytest_opsrunbooks.runbooks.lint.given import NotReadable
from pytest_opsrunbooks.runbooks.lint.world import Compose
from pytest_opsrunbooks.runbooks.lint.world import Route

from .folders import write


def written(folder, text, name="given.txt"):
    write(folder, {name: text})
    return folder / name


def test_routes_are_a_method_and_a_path_a_line(tmp_path):
    text = "# the API\nGET /v1/jobs/:id\npost /v1/jobs  # starts one\n/health\nANY /metrics\n"
    assert given.routes(written(tmp_path, text)) == (
        Route(method="GET", path="/v1/jobs/:id"),
        Route(method="POST", path="/v1/jobs"),
        Route(method="*", path="/health"),
        Route(method="*", path="/metrics"),
    )


def test_routes_are_an_openapi_description(tmp_path):
    paths = {"/v1/jobs": {"get": {}, "post": {}, "parameters": []}, "/health": {"$ref": "x"}}
    assert given.routes(written(tmp_path, json.dumps({"paths": paths}), "api.json")) == (
        Route(method="GET", path="/v1/jobs"),
        Route(method="POST", path="/v1/jobs"),
        Route(method="*", path="/health"),
    )


def test_metrics_are_a_metrics_page_or_names(tmp_path):
    text = (
        "# HELP a_seconds how long\n# TYPE a_seconds histogram\n# TYPE b_total counter\n"
        'up{job="x y",a="{}"} 1 1795146300000\nplain_name\n'
    )
    assert given.metrics(written(tmp_path, text)) == {
        "a_seconds_bucket", "a_seconds_sum", "a_seconds_count", "b_total", "up", "plain_name",
    }  # fmt: skip


def test_a_compose_file_has_services_containers_and_volumes(tmp_path):
    text = "services:\n  web: {container_name: shop-web}\n  db:\nvolumes:\n  data:\n"
    assert given.compose(written(tmp_path, text)) == Compose(
        services=frozenset({"web", "db"}), containers={"shop-web": "web"}, volumes=frozenset({"data"})
    )


def test_scripts_are_found_by_their_path_from_the_folder_and_with_its_name(tmp_path):
    write(tmp_path, {"ops/db/backup.sh": "#!/bin/sh\n"})
    assert set(given.scripts(tmp_path / "ops")) == {"db/backup.sh", "ops/db/backup.sh"}


@pytest.mark.parametrize(
    ("read", "name", "text", "said"),
    [
        (
            given.routes,
            "r.txt",
            "GET /a\nhello\n",
            r"r\.txt:2: 'hello' is no route; expected a line such as GET",
        ),
        (given.routes, "r.txt", "# none\n", "holds no route"),
        (given.routes, "r.json", "{", "is no JSON"),
        (given.routes, "r.json", "{}", "has no `paths`"),
        (given.metrics, "m.txt", "<html>\n", r"m\.txt:1: '<html>' is no sample"),
        (given.metrics, "m.txt", "\n", "holds no metric"),
        (given.compose, "c.yaml", "a: [", "is no YAML"),
        (given.compose, "c.yaml", "a: 1\n", "has no `services`"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_place_and_what_was_expected(read, name, text, said, tmp_path):
    with pytest.raises(NotReadable, match=said):
        read(written(tmp_path, text, name))


def test_what_is_missing_is_said_with_the_option(tmp_path):
    with pytest.raises(NotReadable, match=r"--routes .*gone: cannot be read: no such file"):
        given.routes(tmp_path / "gone")
    with pytest.raises(NotReadable, match=r"--scripts .*gone: is no folder"):
        given.scripts(tmp_path / "gone")


@pytest.mark.parametrize("text", ["jobs", "=jobs.db", "jobs=", ""])
def test_a_database_needs_a_name_and_a_place(text):
    with pytest.raises(NotReadable, match=r"--sqlite takes NAME=WHERE, such as --sqlite jobs=data/jobs\.db"):
        given.named(text, "--sqlite")


def test_the_command_s_own_interface_is_known_from_the_command():
    own = linting.own_command()
    assert {"--sarif", "--select"} <= own.commands["lint"].options_with_value
    assert "--json" in own.commands["lint"].options - own.commands["lint"].options_with_value
    assert own.commands["lab"].commands["up"].options == {"--help", "-h"}
    assert own.commands["sweep"].open_ended
    assert not own.commands["lint"].open_ended
