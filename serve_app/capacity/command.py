"""`voicegraph capacity`: what a number of listeners takes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from serve_app.capacity.costs import CostsError, read_costs
from serve_app.capacity.plan import UTILISATION, CapacityPlan, NodeShape
from serve_app.default_configs import NoSuchConfig, config_path

ESTIMATED = Path(__file__).with_name("h200-estimated.json")


def capacity(
    config: Annotated[str, typer.Argument(help="a file, or a name of `voicegraph config ls`")],
    *,
    streams: Annotated[int, typer.Option(min=1, help="Listeners at the same time.")],
    model: Annotated[str | None, typer.Option(help="Of the file; its default model, else the first.")] = None,
    costs: Annotated[
        Path, typer.Option(help="What stages cost: written by `voicegraph bench --costs`.")
    ] = ESTIMATED,
    node_gpus: Annotated[int, typer.Option(min=0, help="Cards of a node.")] = 8,
    node_cpus: Annotated[float, typer.Option(min=1, help="CPUs of a node.")] = 96,
    utilisation: Annotated[
        float, typer.Option(min=0.05, max=1.0, help="Of what a stage could make, to be planned with.")
    ] = UTILISATION,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How many replicas, cards and nodes a number of listeners takes, from what stages were measured to cost."""
    from serve_app import config_file  # noqa: PLC0415  (Ray takes a second to import)
    from serve_app.capacity.config import plan_for  # noqa: PLC0415

    people = Console(stderr=True, highlight=False)
    try:
        loaded = config_file.load(config_path(config))
        known = read_costs(costs)
        chosen = model or loaded.args.default_model or next(iter(loaded.args.models))
        if chosen not in loaded.args.models:
            raise ValueError(f"model {chosen!r} is not in the file; it has {', '.join(loaded.args.models)}")
        found = plan_for(loaded, known, chosen, streams, NodeShape(node_cpus, node_gpus), utilisation)
    except (NoSuchConfig, config_file.ConfigError, CostsError, ValueError) as error:
        people.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(
            json.dumps({**asdict(found), "machine": known.machine, "estimated": known.estimated}, indent=2)
        )
        return
    _print(found, chosen, known.machine)
    if known.estimated:
        people.print(
            "The costs are estimates, not measurements: use the result for an order of magnitude, and measure with "
            "`voicegraph bench --costs` on your own card.",
            style="yellow",
            soft_wrap=True,
        )


def _print(found: CapacityPlan, model: str, machine: str) -> None:
    console = Console(highlight=False)
    table = Table(
        "deployment", "replicas", "streams each", "load", "GPUs", "CPUs", title=f"{model} on {machine}"
    )
    for each in found.deployments:
        mark = " *" if each is found.bottleneck else ""
        cells = (
            f"{each.replicas}",
            f"{each.streams:.1f}",
            f"{each.load:.0%}",
            f"{each.gpus:g}",
            f"{each.cpus:g}",
        )
        table.add_row(each.deployment + mark, *cells)
    console.print(table)
    console.print(
        f"{found.streams} listeners: {found.cards} cards, {found.nodes} nodes, {found.proxies} proxies, "
        f"{found.clusters} clusters; {found.transfer_bytes_per_s / 1e6:.1f} MB/s between stages. "
        "* is full first.",
        markup=False,
        soft_wrap=True,
    )
