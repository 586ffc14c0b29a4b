"""Figures in README and docs are those of the code: defaults, limits, names, counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from docs_pages import constant, page, rows, said, section, sources, table, value
from docs_repository import ROOT
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from deployments.core import errors
from deployments.core.catalogue import OPENAI_VOICES
from serve_app.capacity import plan
from serve_app.config import OPENAI_MODEL_ALIASES, Config
from serve_app.scaling.settings import POLICY, STREAMS_PER_ROUTER, PolicySettings

DASH = "–"
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
LANGUAGES = {
    "English": "en",
    "Chinese": "zh",
    "Spanish": "es",
    "French": "fr",
    "Hindi": "hi",
    "Italian": "it",
    "Portuguese": "pt",
    "Japanese": "ja",
}
LARGEST = 2**53  # a limit above it is that of the number format, not of ours


def settings_of(family: str) -> type[BaseModel]:
    """The class of a `models` entry: the one in settings.py that names a checkpoint."""
    module = import_module(f"deployments.{family}.settings")
    (found,) = (one for one in vars(module).values() if "checkpoint" in getattr(one, "model_fields", {}))
    return found


def default_of(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def defaults(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Of all settings, those of sections with a dot between. Presets have a table of their own."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        default = default_of(field)
        if name == "presets":
            found[prefix + name] = "below"
        elif isinstance(default, BaseModel):
            found |= defaults(type(default), f"{prefix}{name}.")
        else:
            found[prefix + name] = default
    return found


def shown(default: Any) -> str:
    """As pages write a default, without back quotes."""
    if default is None or default in ({}, ()):
        return DASH
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, int | float):
        return f"{default:,}".replace(",", " ") if default >= 1_000_000 else f"{default:g}"
    if isinstance(default, Mapping):
        known = default.keys() == set(OPENAI_VOICES)
        return (
            f"the {len(default)} OpenAI names"
            if known
            else ", ".join(f"{k}: {v}" for k, v in default.items())
        )
    if isinstance(default, tuple):
        return ", ".join(default)
    return "a sentence" if " " in default else str(default)


@pytest.mark.parametrize(
    ("heading", "family"),
    [
        ("## args", None),
        *((f"## kind: {family}", family) for family in ("kokoro", "indextts2", "voxcpm")),
    ],
)
def test_settings_and_their_defaults(heading: str, family: str | None) -> None:
    text = section("docs/configuration.md", heading).partition("What the presets mean")[0]
    told = {name: cells[0].replace("`", "") for name, cells in table(text).items()}
    assert told == {
        name: shown(default) for name, default in defaults(settings_of(family) if family else Config).items()
    }


def test_presets() -> None:
    text = section("docs/configuration.md", "## kind: indextts2").partition("What the presets mean")[2]
    presets = default_of(settings_of("indextts2").model_fields["presets"])
    names = type(presets).model_fields
    heading = next(line for line in text.splitlines() if line.startswith("|"))
    assert re.findall(r"`(\w+)`", heading) == list(names)
    assert table(text).keys() == type(presets.fast).model_fields.keys()
    for parameter, cells in table(text).items():
        assert cells[: len(names)] == [shown(getattr(getattr(presets, name), parameter)) for name in names], (
            parameter
        )


def bounds(field: FieldInfo) -> str | None:
    """`1 to 9`, `≥ 1`, `> 0`, or None without limits."""
    limits = {
        name: getattr(one, name)
        for one in field.metadata
        for name in ("ge", "gt", "le")
        if hasattr(one, name)
    }
    low, high = limits.get("ge", limits.get("gt")), limits.get("le")
    if low is None:
        return None
    if high is None or high > LARGEST:
        return f"{'≥' if 'ge' in limits else '>'} {shown(low)}"
    return f"{shown(low)} to {shown(high)}"


def choices(field: FieldInfo) -> str | None:
    """The values of a Literal, which may be optional, or of a bool."""
    if field.annotation is bool:
        return "true, false"
    kinds = (field.annotation, *get_args(field.annotation))
    options = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())
    return " ".join(options) or None


def test_fields_of_a_request() -> None:
    body = value("serve_app.http.schema:SpeechBody")
    assert body.model_fields.keys() - set(re.findall(r"`(\w+)`", page("docs/api.md"))) == set()
    told = table(section("docs/api.md", "## POST /v1/audio/speech").partition("For models that clone")[0])
    for name, cells in told.items():
        field = body.model_fields[name]
        expected = bounds(field) or (None if field.annotation is bool else choices(field))
        if expected:
            assert cells[0].replace("`", "") == expected, name
        default = default_of(field)
        if isinstance(default, str | bool | float):
            assert cells[1].replace("`", "") == shown(default), name
    assert told["input"][0] == f"1 to {default_of(Config.model_fields['limits']).max_input_chars} characters"
    formats = value("serve_app.audio.encoders:FORMATS")
    rates = {fmt.default_rate_hz for name, fmt in formats.items() if name != "opus"}
    assert told["sample_rate"][1] == f"{rates.pop()}, opus {formats['opus'].default_rate_hz}"
    assert not rates


def test_parameters_of_a_request() -> None:
    presets = default_of(settings_of("indextts2").model_fields["presets"])
    known = type(presets.fast).model_fields
    told = table(parameters_in_api()[0])
    assert told
    for name, cells in told.items():
        # The length of a segment is a setting, which requests may lower.
        field = known.get(name) or settings_of("indextts2").model_fields[name]
        assert cells[0] == bounds(field), name
    qualities = " ".join(f"`{name}`" for name in type(presets).model_fields)
    assert said("docs/api.md", r"\| `quality` \| (.+?) \|") == (qualities,)


def parameters_in_api() -> list[str]:
    """The tables of the families' own parameters."""
    return section("docs/api.md", "## POST /v1/audio/speech").split("| parameter |")[1:]


def test_parameters_of_voxcpm() -> None:
    known = type(default_of(settings_of("voxcpm").model_fields["params"])).model_fields
    told = table(parameters_in_api()[1])
    assert told.keys() == known.keys()
    for name, cells in told.items():
        assert cells[0].replace("`", "") == (bounds(known[name]) or choices(known[name])), name


def kinds_of_error(kind: type[errors.SpeechError] = errors.SpeechError) -> Iterator[type[errors.SpeechError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from kinds_of_error(one)


def test_errors() -> None:
    known = {str(kind.status): kind.type for kind in kinds_of_error() if kind.__module__ == errors.__name__}
    named = list(rows(section("docs/specs/http-api.md", "### 5.2 Errors")))
    assert {row[0]: row[1] for row in named} == known
    codes = {code for row in named for code in row[2].split(", ")}
    assert {code for code in codes if f'"{code}"' not in sources()} == set()
    assert {row[0] for row in rows(section("docs/api.md", "## Errors"))} == known.keys()


@pytest.mark.parametrize(
    ("path", "heading", "prefix"),
    [("docs/api.md", "## Metrics", ""), ("docs/specs/http-api.md", "### 5.3 Metrics", "tts_")],
)
def test_metrics(path: str, heading: str, prefix: str) -> None:
    told = section(path, heading).partition("`voicegraph bench`")[0]
    names = {prefix + name for name in re.findall(r"`([a-z_]{6,})(?:\{[a-z,]+\})?`", told) if name != "tts_"}
    known = set(re.findall(r'"(tts_[a-z_]+)"', sources()))
    assert {name.removesuffix("_total") for name in names} - {"ray_"} == known


def test_metrics_of_a_bench() -> None:
    told = section("docs/specs/http-api.md", "### 5.3 Metrics").partition("`voicegraph bench`")[2]
    written = page("serve_app/bench/report.py")
    assert {name for name in re.findall(r"`([a-z_0-9]+)`", told) if f'"{name}"' not in written} == set()


def test_headers_of_answers() -> None:
    told = set(re.findall(r"`(X-[\w-]+)`", page("docs/api.md") + page("docs/specs/http-api.md")))
    assert {name for name in told if f'"{name}"' not in sources()} == set()


def test_routes() -> None:
    """Of the interface itself; `/health` is another name of /readyz for old clients."""
    declared = re.findall(r'@routes\.(?:get|post|patch|delete|websocket)\(\s*"([^"]+)"', sources())
    public = {re.sub(r"\{\w+\}", "{id}", path) for path in declared} - {"/health", "/web/{id}", "/docs/{id}"}
    told = page("docs/api.md")
    assert {path for path in public if f"{path}`" not in told and f" {path}\n" not in told} == set()


RECORDING = "deployments.voices.decode"
UTTERANCE = "serve_app/http/websocket/utterance.py"


def seconds_of_a_recording() -> str:
    return f"{value(f'{RECORDING}:MIN_DURATION_S'):g} to {value(f'{RECORDING}:MAX_DURATION_S'):g} s"


def longest_recording() -> str:
    return f"{value(f'{RECORDING}:LONGEST_S'):g} s"


def best_part_of_a_recording() -> str:
    return f"{value('deployments.voices.best_part:PART_S'):g} s"


def megabytes_of_a_recording() -> str:
    return f"{value(f'{RECORDING}:MAX_BYTES') / 1e6:g} MB"


def voices_of_kokoro() -> int:
    languages = value("deployments.kokoro.voices:LANGUAGES")
    return sum(name[0] in languages for name in value("deployments.kokoro.weights:VOICE_DIGESTS"))


def batch_field(name: str, attribute: str) -> Any:
    field = value("serve_app.http.batch_body:BatchBody").model_fields[name]
    return field.default if attribute == "default" else next(m.le for m in field.metadata if hasattr(m, "le"))


def limit(name: str) -> float:
    return float(getattr(default_of(Config.model_fields["limits"]), name))


def longest_instructions() -> int:
    field = value("serve_app.http.schema:SpeechBody").model_fields["instructions"]
    (found,) = (one.max_length for one in field.metadata if hasattr(one, "max_length"))
    return int(found)


def items_at_once() -> str:
    return WORDS[value("serve_app.http.batch:ITEMS_AT_ONCE")].capitalize()


def oldest_python() -> str:
    found = re.search(r'^requires-python = ">=([\d.]+)"$', page("pyproject.toml"), re.MULTILINE)
    assert found
    return found[1]


SENTENCES = {
    "README.md": (
        (r"works: (\d+) fixed voices", voices_of_kokoro),
        (r"the (\d+) OpenAI voices are aliases", lambda: len(OPENAI_VOICES)),
        (
            r"`([\w.-]+)`, `[\w.-]+`, `[\w.-]+` and the \d+ OpenAI voices",
            lambda: next(iter(OPENAI_MODEL_ALIASES)),
        ),
        (r"Linux, Python ([\d.]+) or newer", oldest_python),
        (r"starts on port (\d+)", lambda: re.search(r"^PORT \?= (\d+)", page("Makefile"), re.MULTILINE)[1]),  # type: ignore[index]
        (r"when started (\d+) ms after", lambda: 1000 * value("serve_app.bench.metrics:CONTINUITY_BUFFER_S")),
    ),
    "docs/api.md": (
        (r"a recording of (\d+ to \d+ s) to speak like", seconds_of_a_recording),
        (r"registers a recording of (\d+ to \d+ s), at most", seconds_of_a_recording),
        (r"A longer one, up to (\d+ s), is kept", longest_recording),
        (r"only its best (\d+ s) are used", best_part_of_a_recording),
        (r"registers a recording of [^,]+, at most (\d+ MB)", megabytes_of_a_recording),
        (r"or a recording larger than (\d+ MB)", megabytes_of_a_recording),
        (r"`: up to (\d+) texts", lambda: value("serve_app.http.batch_body:MAX_ITEMS")),
        (r"(\w+) items are made at a time", items_at_once),
        (r"`deadline_s` \(default (\d+)", lambda: batch_field("deadline_s", "default")),
        (r"`deadline_s` \(default \d+, up to (\d+)\)", lambda: batch_field("deadline_s", "le")),
        (
            r"characters as input and (\d+) ms units",
            lambda: 1000 / value("serve_app.http.streaming:USAGE_UNITS_PER_S"),
        ),
    ),
    "docs/websocket.md": (
        (r"up to (\d+) may wait", lambda: limit("max_utterances")),
        (r"(\d+) minutes without a message", lambda: limit("session_idle_timeout_s") / 60),
        (r"At most (\w+) pieces of a session", lambda: WORDS[constant(UTTERANCE, "PIECES_AT_ONCE")]),
        (r"later ones wait up to (\d+) s", lambda: constant(UTTERANCE, "LATER_PIECE_WAIT_S")),
    ),
    "docs/specs/http-api.md": (
        (r"`instructions` \(up to (\d+)\)", longest_instructions),
        (r"all (\d+) names are aliases", lambda: len(OPENAI_VOICES)),
    ),
}


def test_languages_of_kokoro() -> None:
    known = {language for language, _ in value("deployments.kokoro.voices:LANGUAGES").values()}
    (told,) = said("README.md", r"fixed voices, ([\w, ]+); CPU")
    assert {LANGUAGES[name] for name in told.split(", ")} == known


@pytest.mark.parametrize(
    ("path", "pattern", "known"),
    [(path, pattern, known) for path, entries in SENTENCES.items() for pattern, known in entries],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_sentences_say(path: str, pattern: str, known: Any) -> None:
    expected = known()
    assert said(path, pattern) == ((f"{expected:g}" if isinstance(expected, int | float) else expected),)


KUBERNETES = "docs/kubernetes.md"


def ray_service() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(page("k8s/base/rayservice.yaml"))["spec"]
    return spec


def pod(group: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The spec of a group's pods, and their container."""
    spec = group["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


def test_how_long_streams_have_to_end() -> None:
    timeouts = {
        yaml.safe_load(config.read_text(encoding="utf-8"))["http_options"]["request_timeout_s"]
        for config in ROOT.glob("configs/*.yaml")
    }
    assert {int(said(KUBERNETES, r"`request_timeout_s` \((\d+) s\)")[0])} == timeouts
    service = ray_service()
    worker, container = pod(service["rayClusterConfig"]["workerGroupSpecs"][0])
    known = {entry["name"]: int(entry["value"]) for entry in container["env"]}
    known["terminationGracePeriodSeconds"] = worker["terminationGracePeriodSeconds"]
    known["rayClusterDeletionDelaySeconds"] = service["rayClusterDeletionDelaySeconds"]
    known["graceful_shutdown_timeout_s"] = int(value("deployments.core.stages:LONGEST_STREAM_S"))
    upgrades = section(KUBERNETES, "## Upgrades without dropped streams")
    assert {
        re.findall(r"`(\w+)`", setting)[0]: int(told.removesuffix(" s"))
        for _, setting, told in rows(upgrades)
    } == known


def test_sizes_of_the_cluster() -> None:
    cluster = ray_service()["rayClusterConfig"]
    head = pod(cluster["headGroupSpec"])[1]["resources"]
    worker = pod(cluster["workerGroupSpecs"][0])[1]["resources"]["limits"]
    with_gpu = yaml.safe_load(page("k8s/overlays/single-gpu/gpu-worker.yaml"))[0]["value"]["limits"]

    def size(limits: Mapping[str, str]) -> tuple[str, str]:
        return limits["cpu"], limits["memory"].removesuffix("Gi")

    assert said(KUBERNETES, r"on one worker of (\d+) CPUs, (\d+) GiB") == size(worker)
    assert said(KUBERNETES, r"an NVIDIA GPU, (\d+) CPUs, (\d+) GiB") == size(with_gpu)
    asked = head["requests"]["cpu"]
    assert said(KUBERNETES, r"adds a head \((\d+)–(\d+) CPUs, (\d+) GiB\)") == (asked, *size(head["limits"]))
    ray = ".".join(cluster["rayVersion"].split(".")[:2])
    assert f'"ray[serve]>={ray},' in page("pyproject.toml")
    assert said(KUBERNETES, r"KubeRay v[\d.]+, Ray ([\d.]+)\)") == (ray,)


def test_what_a_process_a_node_and_a_cluster_carry() -> None:
    page = "docs/capacity.md"
    carried = {
        row[0]: row[1] for row in rows(section(page, "## From one card to a hundred thousand listeners"))
    }
    assert carried["Router, Ingress"] == f"{plan.STREAMS_PER_INGRESS} streams a process"
    assert plan.STREAMS_PER_INGRESS == STREAMS_PER_ROUTER
    assert carried["proxy"] == f"{plan.STREAMS_PER_PROXY:,} streams a node".replace(",", " ")
    assert carried["object store"] == f"{plan.STORE_BYTES_PER_S_AND_NODE / 1e6:.0f} MB a second and node"
    nodes, replicas = f"{plan.NODES_PER_CLUSTER}", f"{plan.REPLICAS_PER_CLUSTER:,}".replace(",", " ")
    assert carried["one Ray cluster"] == f"{nodes} nodes, {replicas} replicas"
    assert float(said(page, r"`--utilisation` is ([\d.]+) unless")[0]) == plan.UTILISATION
    assert float(said(page, r"over `target_load` \(([\d.]+)\)")[0]) == PolicySettings().target_load


def test_the_example_of_a_config() -> None:
    example, scaling = re.findall(r"```yaml\n(.*?)```", page("docs/configuration.md"), re.DOTALL)
    config = yaml.safe_load(example)
    default = yaml.safe_load(page("configs/cpu.yaml"))
    assert config["http_options"] == default["http_options"]
    (application,) = config["applications"]
    assert Config(**application["args"]).default_model == "kokoro"
    (scaled,) = yaml.safe_load(scaling)["applications"]
    assert scaled["autoscaling_policy"]["policy_function"] == POLICY
    PolicySettings(**scaled["autoscaling_policy"]["policy_kwargs"])
