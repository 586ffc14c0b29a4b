"""What a config needs on this machine before it starts: weights, which are pulled, and a GPU, which is looked for."""

from __future__ import annotations

from rich.console import Console

from deployments.core.errors import CheckpointError
from serve_app.commands import graphics
from serve_app.commands.pulling import pull_with_bar
from serve_app.config_file import ConfigFile, check_files, missing_files, pullable

console = Console(stderr=True, highlight=False)


def left_out(config: ConfigFile) -> dict[str, str]:
    """The optional models whose files are neither here nor to be pulled, and why."""
    pulled = pullable(config)
    missing = missing_files(config) if config.args.optional else {}
    return {name: why for name, why in missing.items() if name in config.args.optional and name not in pulled}


def provision(config: ConfigFile, *, pull: bool) -> list[str]:
    """Pull what is missing and look at the GPU; what still keeps the config from starting, in words for people."""
    gpu = graphics.wants_gpu(config)
    missing, sources = missing_files(config), pullable(config)
    wanted = dict.fromkeys(sources[name] for name in missing if name in sources) if pull else {}
    if gpu and wanted and not graphics.has_driver():
        told = (
            "note: no NVIDIA driver was found, which this config needs; the weights are fetched all the same"
        )
        console.print(told, style="yellow", soft_wrap=True)
    try:
        for checkpoint in wanted:
            pull_with_bar(checkpoint)
    except CheckpointError as error:
        return [str(error)]
    if problems := check_files(config):
        return problems
    return _gpu_problems(config) if gpu else []


def _gpu_problems(config: ConfigFile) -> list[str]:
    with console.status("looking for the GPU"):
        found = graphics.look()
    if problem := graphics.gpu_problem(found, graphics.has_driver()):
        return [problem]
    problem = graphics.memory_problem(graphics.demanded_bytes(config), found.devices)
    return [problem] if problem else []
