from __future__ import annotations

import pytest

from zhseq.errors import ConfigError
from zhseq.serve.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_computer_needs_no_key(host: str) -> None:
    assert Settings(host=host).is_local


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_others_need_a_key(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^listening on .* ZHSEQ_API_KEY .*127\.0\.0\.1'$"):
        Settings(host=host)
    assert not Settings(host=host, api_keys=("secret",)).is_local


@pytest.mark.parametrize(
    "values",
    [
        {"threads": 0},
        {"threads": 10**20},
        {"processes": 1025},
        {"max_body": -1},
        {"queue_poems": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"grace": 1e9},
        {"port": 65_536},
        {"port": -1},
        {"api_keys": ("two words",)},
        {"api_keys": ("k", "密钥")},
        {"rate_limit": -1},
        {"trusted_proxies": ("proxy.example",)},
    ],
)
def test_impossible_values_are_one_sentence(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings(**values)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
