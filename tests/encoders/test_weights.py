from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from gflow_core.encoders.network import fresh
from gflow_core.encoders.weights import hub_folder, pretrained
from gflow_core.errors import DataError
from gflow_core.parts.source import weights_hash


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def published(folder: Path, state: object = None) -> str:
    """A file of weights in `folder`, its name ending in its sha256 as torch hub has it; returns its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / "aside"
    torch.save(small().state_dict() if state is None else state, aside)
    name = f"small-{hashlib.sha256(aside.read_bytes()).hexdigest()[:8]}.pth"
    aside.rename(folder / name)
    return f"https://example.org/weights/{name}"


def test_random_weights_repeat_and_are_named_so():
    before = torch.get_rng_state()
    one, name = pretrained("small", small, "random", "https://example.org/small-0123abcd.pth")
    assert name == "small (random)"
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    try:
        two, _ = pretrained("small", small, "random", "https://example.org/small-0123abcd.pth")
    finally:
        torch.set_default_dtype(torch.float32)
    assert weights_hash(one) == weights_hash(two)
    assert weights_hash(one) != weights_hash(fresh("another", small))


def test_the_cache_holds_the_published_file(hub):
    assert hub_folder() == hub
    url = published(hub)
    network, name = pretrained("small", small, "cache", url)
    assert name == "small"
    wanted = torch.load(hub / Path(url).name, weights_only=True)
    assert all(torch.equal(value, wanted[key]) for key, value in network.state_dict().items())


def test_the_same_file_goes_by_other_names(hub):
    url = published(hub)
    (hub / Path(url).name).rename(hub / "port.pth")
    assert pretrained("small", small, "cache", url, aliases=("port.pth",))[1] == "small"


def test_a_file_of_ones_own_is_never_called_as_the_published_one(tmp_path):
    url = published(tmp_path)
    torch.save(small().state_dict(), tmp_path / "mine.pth")
    assert pretrained("small", small, str(tmp_path / "mine.pth"), url)[1] == "small (mine)"
    assert pretrained("small", small, str(tmp_path / Path(url).name), url)[1] == "small"


def test_a_damaged_file_in_the_cache_is_refused(hub):
    url = published(hub)
    with open(hub / Path(url).name, "ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"sha256 does not start with .{8}; the file is damaged.*example\.org"):
        pretrained("small", small, "cache", url)


def test_missing_says_where_what_to_fetch_and_which_option(hub, tmp_path):
    url = "https://example.org/weights/small-0123abcd.pth"
    with pytest.raises(DataError) as caught:
        pretrained("small", small, "cache", url, aliases=("port.pth",))
    said = str(caught.value)
    for words in (str(hub), "small-0123abcd.pth", "port.pth", f"fetch {url}", "weights to the file", "download = true"):
        assert words in said
    with pytest.raises(DataError, match=r'looked for .*absent.pth.*set the encoder\'s weights to a file, "cache"'):
        pretrained("small", small, str(tmp_path / "absent.pth"), url)
    with pytest.raises(DataError, match="write the path out"):
        pretrained("small", small, "~nobody-of-this-name/w.pth", url)


def test_download_fetches_once_into_the_cache(hub, tmp_path, monkeypatch):
    url = published(tmp_path)
    asked = []

    def fetch(address, target, hash_prefix=None, progress=True):
        asked.append((address, hash_prefix))
        Path(target).write_bytes((tmp_path / Path(url).name).read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    for _ in range(2):
        assert pretrained("small", small, "cache", url, download=True)[1] == "small"
    assert asked == [(url, Path(url).stem.removeprefix("small-"))]


def test_a_download_that_fails_says_how_to_do_it_by_hand(hub, monkeypatch):
    def fail(*_args, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(DataError, match=r"no route to host\); fetch https://example.org/s-0123abcd.pth yourself into"):
        pretrained("small", small, "cache", "https://example.org/s-0123abcd.pth", download=True)


def test_older_files_lack_the_counters_of_batch_norm(hub):
    state = {key: value for key, value in small().state_dict().items() if "num_batches" not in key}
    network, _ = pretrained("small", small, "cache", published(hub, state))
    assert torch.equal(network[0].weight, state["0.weight"])


def test_tensors_are_brought_up_to_date(hub):
    state = small().state_dict()
    old = {f"module.{key}": value for key, value in state.items()}
    url = published(hub, old)
    network, _ = pretrained("small", small, "cache", url, adapt=lambda old: {key[7:]: x for key, x in old.items()})
    assert torch.equal(network[3].bias, state["3.bias"])


class Evil:
    def __reduce__(self):
        return print, ("code of a stranger ran",)


def test_files_that_are_no_weights(tmp_path, capsys):
    state = small().state_dict()
    files = {
        "cut.pth": (state, "not readable as weights"),
        "evil.pth": ({"a": Evil()}, r"not readable as weights \(it is damaged, or holds other objects than tensors"),
        "list.pth": ([1, 2], "not a state dict"),
        "empty.pth": ({"epoch": 3}, "not a state dict"),
        "two.pth": ({"g": state, "g_ema": state, "epoch": 3}, "holds several state dicts, g, g_ema; save the one"),
    }
    for name, (content, words) in files.items():
        path = tmp_path / name
        torch.save(content, path)
        if name == "cut.pth":
            path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataError, match=f"{name}: {words}"):
            pretrained("small", small, str(path), "https://example.org/small-0123abcd.pth")
    assert "stranger" not in capsys.readouterr().out


def test_a_state_dict_under_a_key_of_its_own_is_taken(tmp_path):
    state = small().state_dict()
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "wrapped.pth")
    network, _ = pretrained("small", small, str(tmp_path / "wrapped.pth"), "https://example.org/small-0123abcd.pth")
    assert torch.equal(network[0].weight, state["0.weight"])


def test_weights_of_another_network_are_told_all_at_once(tmp_path):
    state = small().state_dict()
    state["3.weight"] = torch.zeros(7, 16)
    state["extra"] = torch.zeros(1)
    del state["0.weight"], state["3.bias"]
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(DataError) as caught:
        pretrained("small", small, str(tmp_path / "other.pth"), "https://example.org/small-0123abcd.pth")
    said = str(caught.value)
    assert "2 missing (0.weight, 3.bias); 1 unexpected (extra)" in said
    assert "1 of another shape (3.weight [7, 16] instead of [5, 16])" in said
    assert "\n" not in said
