"""An archive that is called a backup is whole and complete, and holds no secret in clear."""

from __future__ import annotations

import subprocess
import sys
import tarfile

import pytest

from procedures.ner11 import backup_database
from procedures.ner11 import component_backups
from pytest_opsrunbooks.recover import archive
from pytest_opsrunbooks.recover import archive_check
from pytest_opsrunbooks.recover.procedure import Refused
from pytest_opsrunbooks.recover.report import Outcome
from systems.ner11.observe import backups as observe_backups
from systems.ner11.settings import Commands

COMPONENTS = ("models", "config", "volumes")
SEAL = (
    sys.executable,
    "-c",
    "import sys; sys.stdout.buffer.write(bytes(b ^ 90 for b in sys.stdin.buffer.read()))",
)


def newest_of(serving, name):
    """As the check of the component sees it."""
    return observe_backups.observe_component(serving.settings.backup_dir, name, read_bytes=2**40)


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_checks_are_content_with_what_a_backup_makes(serving, name):
    serving.break_by(f"{name}-backup-missing")
    assert newest_of(serving, name).newest is None

    file, _ = serving.made_by(name)

    assert newest_of(serving, name).newest.name == file.name
    assert newest_of(serving, name).problems == ()
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_belongs_to_each_component_is_in_it(serving):
    layout = serving.layout
    names = {
        name: {file.name for file in archive_check.check(serving.made_by(name)[0]).files}
        for name in COMPONENTS
    }

    assert names["models"] == {path.name for path in layout.models.iterdir()}
    assert names["config"] == {path.relative_to(layout.app).as_posix() for path in layout.config_files}
    assert names["volumes"] == {"uploads/notice.txt", "uploads/sample.csv"}


def test_a_secret_is_left_out_or_encrypted_and_never_in_clear(serving):
    password = serving.layout.password("ner11_app").encode()
    for commands in (Commands(), Commands(encrypt=SEAL)):
        file, _ = serving.made_by("config", commands=commands)
        with tarfile.open(file) as tar:
            content = {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}
        assert not any(password in each for each in content.values())
        assert [each.name for each in archive_check.check(file).left_out] == [".env"]
        archive.discard(file)
    assert password in bytes(byte ^ 90 for byte in content[".env.encrypted"])


@pytest.mark.parametrize("program", [("cat",), ("true",), ("false",), ("no-such-program-of-ours",)])
def test_a_program_that_does_not_encrypt_makes_no_backup(serving, program):
    before = serving.backups

    report = serving.with_settings(commands=Commands(encrypt=program)).execute("backup_config")

    assert report.outcome is Outcome.FAILED_AND_UNDONE
    assert "no archive was made" in report.reason
    assert serving.backups == before


def test_a_secret_in_a_folder_that_is_backed_up_is_no_exception(serving):
    token = serving.layout.app / "api" / "token[1].txt"
    token.write_text("hunter2")
    changes = {"config_files": (token.parent,), "secret_files": (token,)}
    before = serving.backups
    try:
        copied = serving.with_settings(**changes, commands=Commands(encrypt=("cat",))).execute(
            "backup_config"
        )
        assert "did not encrypt" in copied.reason
        assert serving.backups == before

        file, _ = serving.made_by("config", **changes)

        manifest = archive_check.check(file)
        assert {each.name for each in manifest.files} == {"api/config.py"} | {
            f"api/{path.name}" for path in token.parent.iterdir() if path.is_file() and path != token
        }
        assert [each.name for each in manifest.left_out] == ["api/token[1].txt"]
    finally:
        token.unlink()


def test_damaged_models_are_not_backed_up(serving):
    serving.break_by("model-truncated")
    before = serving.backups

    report = serving.execute("backup_models")

    assert report.outcome is not Outcome.DONE
    assert "would replace a good one" in report.reason
    assert serving.backups == before


def test_a_backup_is_never_taken_for_that_of_another_run(serving, monkeypatch):
    """Two in one second would have the same name."""
    file, _ = serving.made_by("volumes")
    monkeypatch.setattr(component_backups, "new", lambda path: backup_database.new(path.with_name(file.name)))
    with pytest.raises(Refused, match="made in this very second"):
        serving.plan("backup_volumes")


def test_what_is_gone_is_refused_and_not_left_out(serving):
    (serving.layout.app / "scripts" / "rollback.sh").unlink()
    with pytest.raises(Refused, match=r"rollback\.sh is not there"):
        serving.plan("backup_config")
    with pytest.raises(Refused, match="volumes is not set"):
        serving.with_settings(volumes=()).plan("backup_volumes")


def test_a_link_is_refused_as_nothing_behind_it_would_be_in_the_backup(serving, tmp_path):
    link = tmp_path / "uploads"
    link.symlink_to(serving.layout.volume)
    with pytest.raises(
        Refused, match=f"is a link; name what it leads to in volumes: {serving.layout.volume}"
    ):
        serving.with_settings(volumes=(link,)).plan("backup_volumes")


def test_the_folder_of_a_database_that_runs_is_refused(serving):
    with pytest.raises(Refused, match=r"PostgreSQL runs on .*ner11\.stop_service --set service=postgres"):
        serving.with_settings(volumes=(serving.layout.postgres,)).plan("backup_volumes")


def test_a_copy_goes_elsewhere_and_one_that_fails_fails_the_backup(serving):
    copy = ("cp", "{file}", str(serving.layout.offsite))
    file, _ = serving.made_by("volumes", commands=Commands(offsite_copy=copy))
    assert (serving.layout.offsite / file.name).read_bytes() == file.read_bytes()
    archive.discard(file)

    report = serving.with_settings(commands=Commands(offsite_copy=("false",))).execute("backup_volumes")

    assert report.outcome is not Outcome.DONE
    assert "offsite_copy" in report.reason


# -- everything in one ---------------------------------------------------------------------------------------


@pytest.fixture
def repository(serving, tmp_path):
    """The configuration of the lab in a Git repository with a commit."""

    def git(*arguments):
        identity = ("-c", "user.name=A Test", "-c", "user.email=test@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path / "code", capture_output=True, check=True)

    (tmp_path / "code").mkdir()
    compose = tmp_path / "code" / "docker-compose.yml"
    compose.write_text("services: {}\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "Begin")
    return serving.with_settings(config_files=(compose,)), git


def test_the_archive_of_everything_has_each_part_and_the_code_with_its_history(repository, tmp_path):
    serving, _ = repository
    file, _ = serving.made_by("full_system")

    names = {each.name for each in archive_check.check(file).files}
    assert {name.partition("/")[0] for name in names} == {"database", "models", "config", "volumes", "git"}
    assert sum(name.endswith(".sha256") for name in names) == 4
    assert newest_of(serving, "full_system").newest.name == file.name
    assert newest_of(serving, "full_system").problems == ()
    with tarfile.open(file) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (bundle,) = (tmp_path / "unpacked" / "git").iterdir()
    subprocess.run(
        ["git", "clone", "-q", str(bundle), str(tmp_path / "cloned")], check=True, capture_output=True
    )
    assert (tmp_path / "cloned" / "docker-compose.yml").is_file()


def test_a_bundle_of_a_shallow_copy_is_no_backup(repository, tmp_path):
    serving, git = repository
    git("commit", "--quiet", "--allow-empty", "--message", "Go on")
    shallow = tmp_path / "shallow"
    source = f"file://{tmp_path / 'code'}"
    subprocess.run(["git", "clone", "-q", "--depth=1", source, str(shallow)], check=True, capture_output=True)
    before = serving.backups

    report = serving.with_settings(config_files=(shallow / "docker-compose.yml",)).execute(
        "backup_full_system"
    )

    assert report.outcome is not Outcome.DONE
    assert "git fetch --unshallow" in report.reason
    assert serving.backups == before


def test_code_that_git_cannot_read_is_refused_and_not_left_out(repository, tmp_path):
    serving, _ = repository
    (tmp_path / "code" / ".git" / "HEAD").unlink()
    with pytest.raises(Refused, match=r"the code in .* cannot be bundled: git: "):
        serving.plan("backup_full_system")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("models-backup-missing", "there is no backup"),
        ("backup-missing", "there is no dump"),
        ("backup-truncated", "the newest dump is no good"),
    ],
)
def test_everything_is_not_put_together_from_parts_that_are_no_good(serving, fault, words):
    serving.break_by(fault)
    with pytest.raises(Refused, match=words):
        serving.plan("backup_full_system")
