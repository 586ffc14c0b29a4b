from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.config import InPlace
from serve_app.config_file import ConfigError, check_files, deployable, load

CPU = Path(__file__).parents[3] / "configs" / "cpu.yaml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(CPU.read_text(encoding="utf-8"))
    return loaded


def problems(path: Path, changed: Any, **options: Any) -> list[str]:
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, **options)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())
    return caught.value.problems


def placed(keys: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The default config with `value` at a place."""
    changed = content()
    node: Any = changed
    for key in keys[:-1]:
        node = node.setdefault(key, {}) if isinstance(node, dict) else node[key]
    node[keys[-1]] = value
    return changed


APP = ("applications", 0)
STAGE = (*APP, "deployments", 2)


@pytest.mark.parametrize("name", sorted(p.name for p in CPU.parent.glob("*.yaml")))
def test_the_configs_of_this_repository_are_right(name: str) -> None:
    assert load(CPU.parent / name).args.models


def test_port_and_models_override_the_file(path: Path) -> None:
    loaded = load(CPU, port=9001, models=["kokoro"])
    assert loaded.serve.http_options.port == 9001
    assert list(loaded.args.models) == ["kokoro"]


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("aplications",), [], "aplications: unknown option; did you mean applications?"),
        (("http_options", "prot"), 1, "http_options.prot: unknown option; did you mean port?"),
        ((*APP, "route_prefx"), "/", "applications.voicegraph.route_prefx: unknown option"),
        (
            (*STAGE, "num_replica"),
            2,
            "deployments.kokoro.num_replica: unknown option; did you mean num_replicas?",
        ),
        (
            (*STAGE, "ray_actor_options"),
            {"num_cpu": 1},
            "ray_actor_options.num_cpu: unknown option; did you mean",
        ),
        (
            (*STAGE, "autoscaling_config"),
            {"min_replica": 1},
            "autoscaling_config.min_replica: unknown option; did you mean min_replicas?",
        ),
        ((*STAGE, "num_replicas"), "many", "num_replicas"),
        (
            (*STAGE, "name"),
            "kokro",
            "'kokro' is not part of the graph; it has Ingress, Router, indextts2-gpt",
        ),
        ((*APP, "args", "limits", "max_activ"), 1, "args.limits.max_activ: Extra inputs are not permitted"),
        ((*APP, "args", "models", "kokoro", "thread"), 1, "args.models.kokoro: thread: Extra inputs"),
        ((*APP, "args", "models", "kokoro", "kind"), "other", "kind 'other': there is no module"),
        (
            (*APP, "args", "models", "kokoro", "kind"),
            "engine",
            "there is no module deployments.engine.pipeline",
        ),
        ((*APP, "args", "models", "kokoro", "kind"), "../kokoro", "is not the name of a module"),
        ((*APP, "args", "models", "kokoro", "kind"), "a..b", "kind 'a..b'"),
        ((*APP, "args", "models", "kokoro", "kind"), None, "`kind` is missing"),
        ((*APP, "args", "default_model"), "other", "default_model: 'other' is not one of"),
        ((*APP, "args"), None, "args.models"),
        ((*APP, "args"), [], "args"),
        ((*APP, "deployments"), "kokoro", "deployments"),
        (STAGE, "kokoro", "deployments"),
        (APP, "voicegraph", "exactly one application"),
        (("applications",), [], "exactly one application"),
        (("applications",), None, "exactly one application"),
        (("applications",), "x", "exactly one application"),
        (("applications",), {"a": 1}, "exactly one application"),
        (("http_options",), 8000, "http_options"),
    ],
)
def test_a_fault_is_named_with_its_place(
    path: Path, place: tuple[Any, ...], value: Any, expected: str
) -> None:
    found = problems(path, placed(place, value))
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize("changed", [None, [], "text", 5, {}])
def test_files_that_are_no_serve_config(path: Path, changed: Any) -> None:
    assert "exactly one application" in problems(path, changed)[0]


@pytest.mark.parametrize(
    "data", [b"a: [", b"\xff\xfe\xfa", b"a: b: c", b"\x00", b"!!python/object:os.system {}"]
)
def test_files_that_cannot_be_read(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path.with_name("missing.yaml"))


def test_all_faults_are_listed_at_once(path: Path) -> None:
    changed = placed((*STAGE, "num_replica"), 2)
    changed["x"] = 1
    changed["applications"][0]["args"]["y"] = 2
    assert len(problems(path, changed)) >= 3


def two_models() -> dict[str, Any]:
    changed = content()
    application = changed["applications"][0]
    application["args"]["models"] = {"index": {"kind": "kokoro"}, "index-fast": {"kind": "kokoro"}}
    application["args"]["default_model"] = "index"
    application["args"]["model_aliases"] = {"old": "index", "new": "index-fast", "tts-1": "fast"}
    names = ["Ingress", "Router", "index", "index-fast"]
    application["deployments"] = [{"name": name, "num_replicas": 1} for name in names]
    return changed


def test_models_that_are_left_out_take_their_deployments_and_aliases_along(path: Path) -> None:
    path.write_text(yaml.safe_dump(two_models()), encoding="utf-8")
    for kept, alias in (("index-fast", "new"), ("index", "old")):
        loaded = load(path, models=[kept])
        assert list(loaded.args.models) == [kept]
        assert loaded.args.default_model == kept
        assert loaded.args.model_aliases == {alias: kept, "tts-1": "fast"}
        assert {d.name for d in loaded.serve.applications[0].deployments} == {"Ingress", "Router", kept}


def test_models_that_are_left_out_leave_the_routing_rules(path: Path) -> None:
    changed = two_models()
    changed["applications"][0]["args"]["optional"] = []
    changed["applications"][0]["args"]["routing"] = {
        "long_text_chars": 7,
        "rules": [
            {"name": "both", "prefer": ["index", "index-fast"]},
            {"name": "one", "prefer": ["index"]},
            {"name": "think", "filler": True, "prefer": ["index"]},
        ],
        "fillers": {},
    }
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    routing = load(path, models=["index-fast"]).args.routing
    assert [(rule.name, rule.prefer) for rule in routing.rules] == [("both", ("index-fast",)), ("think", ())]
    assert routing.long_text_chars == 7
    assert len(load(path).args.routing.rules) == 3
    changed["applications"][0]["args"]["routing"]["rules"][0]["prefer"] = ["gone"]
    assert "'both' prefers 'gone', which is not one of" in problems(path, changed)[0]
    for odd in (None, [], {"rules": None}, {"rules": ["x", {"prefer": "index"}]}):
        changed["applications"][0]["args"]["routing"] = odd
        path.write_text(yaml.safe_dump(changed), encoding="utf-8")
        if odd is not None:
            assert problems(path, changed, models=["index-fast"]) or odd == {}


def test_a_model_that_is_not_in_the_file(path: Path) -> None:
    assert (
        "'x' is not in this file; it has index, index-fast" in problems(path, two_models(), models=["x"])[0]
    )
    assert "at least one model" in problems(path, two_models(), models=[])[0]
    assert problems(path, placed((*APP, "args"), None), models=["kokoro"])
    assert problems(path, placed((*APP, "args", "models"), ["kokoro"]), models=["kokoro"])


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.sampled_from(["", "kokoro", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "kind", "x"]), inner)
    ),
    max_leaves=4,
)


def places(node: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [prefix, *(place for key, value in items for place in places(value, (*prefix, key)))]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(places(content())[1:]), value=ANY, models=st.none() | st.just(["kokoro"]))
def test_no_value_anywhere_crashes_the_check(
    path: Path, place: tuple[Any, ...], value: Any, models: list[str] | None
) -> None:
    path.write_text(yaml.safe_dump(copy.deepcopy(placed(place, value))), encoding="utf-8")
    with suppress(ConfigError):
        load(path, models=models)


def test_missing_weights_are_named_with_the_command_that_fetches_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: Path
) -> None:
    changed = placed((*APP, "args", "models", "kokoro", "checkpoint"), str(tmp_path / "nothing"))
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    (problem,) = check_files(load(path))
    assert problem.startswith("model 'kokoro': ")


def test_the_names_of_all_deployments() -> None:
    stages = {f"indextts2-{stage}" for stage in ("speaker", "gpt", "s2mel", "vocoder")}
    assert load(CPU).deployments.keys() == {"Ingress", "Router", "kokoro", *stages}


def test_limits_travel_where_a_change_replaces_no_replica(path: Path) -> None:
    changed = placed((*APP, "args", "limits"), {"max_requests": 7})
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    schema = deployable(load(path))
    application = schema.applications[0]
    assert "limits" not in application.args
    entries = {entry.name: entry for entry in application.deployments}
    for name in ("Router", "Ingress"):
        assert InPlace.model_validate(entries[name].user_config).limits.max_requests == 7
    path.write_text(CPU.read_text(encoding="utf-8"), encoding="utf-8")
    unchanged = deployable(load(path)).applications[0]
    assert unchanged.args == application.args


def test_what_the_file_says_of_it_itself_is_kept_and_checked(path: Path) -> None:
    own = {"limits": {"max_requests": 9}}
    router = (*APP, "deployments", 1)
    path.write_text(yaml.safe_dump(placed((*router, "user_config"), own)), encoding="utf-8")
    entries = {entry.name: entry for entry in deployable(load(path)).applications[0].deployments}
    assert entries["Router"].user_config == own
    wrong = placed((*router, "user_config"), {"limits": {"max_request": 9}})
    assert "Router.user_config.limits.max_request" in problems(path, wrong)[0]
