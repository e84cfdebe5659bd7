"""Weights of a hub come once, whole, with the hash the hub says, or not at all: shown with a hub on this machine."""

import hashlib
import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from onegen.errors import ConfigError
from onegen.weights import hub as weights
from onegen.weights.hub import HubModel
from tests import hub as hubs

pytestmark = pytest.mark.torch
REPO = "lab/tiny"
FILES = {
    "config.json": b'{"a": 1}',
    "model.safetensors": b"weights" * 4000,
    "pytorch_model.bin": b"the same once more",
    "README.md": b"not needed",
    "vae/diffusion_pytorch_model.fp16.safetensors": b"twice",
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hubs.running() as server:
        folder = tmp_path / "repo"
        for name, data in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        server.repos[REPO] = folder
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path / "models"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server


def test_a_branch_is_pinned_and_fetched_once(hub, tmp_path):
    model = HubModel(REPO)
    model.require()
    commit = hubs.commit_of(hub.repos[REPO])
    identity = model.identity()
    assert (identity.name, identity.revision, identity.licence) == (REPO, commit, "apache-2.0")
    assert identity.sha256 == hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert not model.is_here()
    folder = model.folder()
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["config.json", "model.safetensors"]
    assert model.is_here()
    # The repository moves on; what was asked for once stays.
    (hub.repos[REPO] / "model.safetensors").write_bytes(b"newer")
    asked = hub.asked.total()
    assert HubModel(REPO).identity() == identity
    assert HubModel(REPO).folder() == folder
    assert hub.asked.total() == asked


def test_a_copied_model_folder_needs_no_hub(hub, tmp_path, monkeypatch):
    folder = HubModel(REPO).folder()
    shutil.copytree(tmp_path / "models", tmp_path / "copied")
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path / "copied"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    copied = HubModel(REPO)
    copied.require()
    assert copied.is_here()
    assert (copied.folder() / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def _fetch(number: int) -> str:
    return str(HubModel(REPO).folder())


def test_eight_workers_fetch_once(hub):
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        assert len(set(pool.map(_fetch, range(8), chunksize=1))) == 1
    assert hub.asked["model.safetensors"] == hub.asked["config.json"] == 1
    assert hub.asked["info"] == 1


def test_other_bytes_than_the_hub_says_are_refused(hub):
    hub.lie["model.safetensors"] = b"Weights" + FILES["model.safetensors"][7:]
    with pytest.raises(ConfigError, match="must have the hash"):
        HubModel(REPO).folder()
    del hub.lie["model.safetensors"]
    assert (HubModel(REPO).folder() / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_file_damaged_later_is_refused_then_fetched_again(hub):
    path = HubModel(REPO).folder() / "model.safetensors"
    path.write_bytes(b"W" + FILES["model.safetensors"][1:])
    with pytest.raises(ConfigError, match="model.safetensors of lab/tiny must have the hash"):
        HubModel(REPO).folder()
    HubModel(REPO).folder()
    assert path.read_bytes() == FILES["model.safetensors"]


def test_a_broken_download_goes_on(hub):
    data = os.urandom(12 << 20)
    (hub.repos[REPO] / "model.safetensors").write_bytes(data)
    hub.break_after["model.safetensors"] = 11 << 20
    assert (HubModel(REPO).folder() / "model.safetensors").read_bytes() == data
    assert hub.asked[f"model.safetensors from {10 << 20}"] == 1  # the client keeps whole pieces of 10 MiB


@pytest.mark.parametrize(
    ("repo", "revision", "message"),
    [
        ("lab/gated", "main", "is gated: accept its licence on its page of the hub, then set HF_TOKEN"),
        ("lab/none", "main", "must be on the hub, and is not, or is private"),
        (REPO, "v9", "must have the revision 'v9'"),
        ("no such name", "main", "must be owner/name of a repository"),
        ("gpt2", "main", "must be owner/name of a repository"),
        ("lab/tiny", "../../../etc/passwd", "with a plain revision"),
        ("/nowhere/at/all", "main", "must be a repository, such as owner/name, or a folder"),
    ],
)
def test_what_the_hub_does_not_give_is_explained(hub, repo, revision, message):
    hub.gated.add("lab/gated")
    with pytest.raises(ConfigError, match=message):
        HubModel(repo, revision).require()


def test_a_repository_without_weights_is_refused(hub):
    (hub.repos[REPO] / "model.safetensors").unlink()
    shutil.rmtree(hub.repos[REPO] / "vae")
    with pytest.raises(ConfigError, match="must hold weights"):
        HubModel(REPO).require()


def test_without_a_network_the_way_out_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEGEN_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="onegen models fetch RECIPE --to DIR.*ONEGEN_MODELS=DIR"):
        HubModel(REPO).require()


def test_weights_need_room(hub, monkeypatch):
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(ConfigError, match="GB free for lab/tiny"):
        HubModel(REPO).folder()


def test_a_repository_whose_files_lie_elsewhere_is_refused(hub, monkeypatch):
    told = hub.info(REPO)
    told["siblings"].append({"rfilename": "../../evil.json", "size": 1, "blobId": "0" * 40})
    monkeypatch.setattr(hub, "info", lambda repo: told)
    with pytest.raises(ConfigError, match=r"files inside its own folder, and names '../../evil.json'"):
        HubModel(REPO).require()


def test_a_wrong_pin_is_refused(hub):
    HubModel(REPO, sha256=hashlib.sha256(FILES["model.safetensors"]).hexdigest()).require()
    with pytest.raises(ConfigError, match="must have SHA-256 0000"):
        HubModel(REPO, sha256="0" * 64).require()


def test_a_folder_of_this_machine_is_known_by_what_it_holds(hub, tmp_path):
    one, other = tmp_path / "a" / "mine", tmp_path / "b" / "mine"
    shutil.copytree(hub.repos[REPO], one)
    shutil.copytree(one, other)
    identity = HubModel(str(one)).identity()
    assert identity == HubModel(str(other)).identity()
    assert (identity.name, identity.revision) == ("mine", "local")
    (other / "config.json").write_bytes(b"{}")
    weights._identity_of_folder.cache_clear()
    assert HubModel(str(other)).identity().sha256 != identity.sha256
    assert HubModel(str(one)).folder() == one


def test_several_files_of_weights_have_one_hash(hub):
    (hub.repos[REPO] / "other.safetensors").write_bytes(b"more")
    named = {
        "model.safetensors": hashlib.sha256(FILES["model.safetensors"]).hexdigest(),
        "other.safetensors": hashlib.sha256(b"more").hexdigest(),
    }
    expected = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
    assert HubModel(REPO).identity().sha256 == expected


def test_a_model_folder_that_may_only_be_read_serves(hub, tmp_path):
    HubModel(REPO).folder()
    home = Path(os.environ["ONEGEN_MODELS"]) / "hub" / "lab--tiny"
    next(home.glob("*.seen")).unlink()
    home.chmod(0o500)
    try:
        assert (HubModel(REPO).folder() / "config.json").is_file()
    finally:
        home.chmod(0o700)
